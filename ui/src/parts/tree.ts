// The spans of a trace, each below the one that it belongs to, in the order in which they began.

import type { Span } from '../model';

export interface Row {
  span: Span;
  depth: number;
}

const DEEPEST = 24;

/** Spans whose parent is not here stand at the top; nobody's word is taken for there being no ring among them. */
export function inTree(spans: readonly Span[]): Row[] {
  const ordered = [...spans].sort((one, other) => one.at - other.at || one.id.localeCompare(other.id));
  const here = new Set(ordered.map((span) => span.id));
  const below = new Map<string, Span[]>();
  for (const span of ordered) {
    const parent = span.parent && here.has(span.parent) && span.parent !== span.id ? span.parent : '';
    below.set(parent, [...(below.get(parent) ?? []), span]);
  }
  const rows: Row[] = [];
  const seen = new Set<string>();
  const open = (below.get('') ?? []).toReversed().map((span) => ({ span, depth: 0 }));
  for (let row = open.pop(); row; row = open.pop()) {
    if (seen.has(row.span.id)) continue;
    seen.add(row.span.id);
    rows.push(row);
    const depth = Math.min(row.depth + 1, DEEPEST);
    open.push(...(below.get(row.span.id) ?? []).toReversed().map((span) => ({ span, depth })));
  }
  rows.push(...ordered.filter((span) => !seen.has(span.id)).map((span) => ({ span, depth: 0 })));
  return rows;
}
