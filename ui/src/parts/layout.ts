// Where everything on the map stands. Left to right, as calls and events flow; the same picture for the same system.

import dagre from '@dagrejs/dagre';
import { plain } from '../format';
import type { Edge, Service } from '../model';

export const HEIGHT = 56;
export const NAMED = 40;
const LABEL = { width: 96, height: 34 };

export interface Spot {
  x: number;
  y: number;
}

export interface Box extends Spot {
  width: number;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Map<string, Box>;
  edges: Map<string, { path: string; middle: Spot }>;
}

/** What an edge is known by. */
export function named(edge: Pick<Edge, 'from' | 'to' | 'kind'>): string {
  return JSON.stringify([edge.from, edge.to, edge.kind]);
}

/** What the layout depends on: while this stays, so does the picture. */
export function shapeOf(services: readonly Service[], edges: readonly Edge[]): string {
  // A server or a sidecar that nothing is known to flow through has its line among the services.
  const placed = services.filter((one) => one.kind !== 'external').map((one) => one.name);
  const names = new Set([...placed, ...edges.flatMap((one) => [one.from, one.to])]);
  return JSON.stringify([[...names].sort(), edges.map(named).sort()]);
}

let kept: { shape: string; layout: Layout } | null = null;

/** The layout of a shape; the last one is kept, for whoever comes back from another page. */
export function layout(shape: string): Layout {
  if (kept?.shape !== shape) kept = { shape, layout: laidOut(shape) };
  return kept.layout;
}

/** A name as dagre is given it, which would take `__proto__` and others for what every object has. */
function own(name: string): string {
  return `:${name}`;
}

/** Of a box: as much as its name takes, for those of several services may begin alike. */
function widthOf(name: string): number {
  return Math.max(168, Math.round(44 + plain(name, NAMED).length * 8.6));
}

function laidOut(shape: string): Layout {
  const [names, keys] = JSON.parse(shape) as [string[], string[]];
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 24, ranksep: 66, edgesep: 14, marginx: 8, marginy: 8 });
  for (const name of names) graph.setNode(own(name), { width: widthOf(name), height: HEIGHT });
  for (const key of keys) {
    const [from, to] = JSON.parse(key) as [string, string, string];
    // A topic leads away from who publishes; a call of oneself has no line.
    if (from !== to) graph.setEdge(own(from), own(to), { ...LABEL, labelpos: 'c' }, key);
  }
  dagre.layout(graph);
  const found: Layout = { width: graph.graph().width ?? 0, height: graph.graph().height ?? 0, nodes: new Map(), edges: new Map() };
  for (const name of names) {
    const { x, y, width } = graph.node(own(name)) as Box;
    found.nodes.set(name, { x, y, width });
  }
  const ways = graph.edges().map((each) => {
    const { points, x, y } = graph.edge(each) as unknown as { points: Spot[]; x: number; y: number };
    return { key: each.name ?? '', from: each.v.slice(1), to: each.w.slice(1), inner: points.slice(1, -1), points, middle: { x, y } };
  });
  const leaves = ports(ways, (way) => way.from, (way) => way.inner[0] ?? way.middle);
  const arrives = ports(ways, (way) => way.to, (way) => way.inner.at(-1) ?? way.middle);
  for (const way of ways) {
    const from = found.nodes.get(way.from) as Box;
    const to = found.nodes.get(way.to) as Box;
    const begin = { x: from.x + from.width / 2, y: from.y + (leaves.get(way.key) ?? 0) };
    const end = { x: to.x - to.width / 2, y: to.y + (arrives.get(way.key) ?? 0) };
    const stops = [begin, ...way.inner, end];
    const onward = stops.every((stop, place) => place === 0 || stop.x > (stops[place - 1] as Spot).x);
    // What goes back to the left, in a ring of calls, keeps the way that was found for it.
    found.edges.set(way.key, { path: curve(onward ? stops : way.points), middle: way.middle });
  }
  return found;
}

/** How far above or below the middle of its box each edge begins or ends, so that no two share a place or cross at once. */
function ports<Way extends { key: string }>(ways: readonly Way[], box: (way: Way) => string, next: (way: Way) => Spot): Map<string, number> {
  const groups = new Map<string, Way[]>();
  for (const way of ways) groups.set(box(way), [...(groups.get(box(way)) ?? []), way]);
  const found = new Map<string, number>();
  for (const group of groups.values()) {
    const apart = Math.min(12, (HEIGHT - 16) / group.length);
    group.sort((one, other) => next(one).y - next(other).y);
    group.forEach((way, place) => found.set(way.key, (place - (group.length - 1) / 2) * apart));
  }
  return found;
}

/** A line through all points that leaves and reaches each of them level. */
function curve(points: readonly Spot[]): string {
  const first = points[0];
  if (!first) return '';
  let path = `M${round(first.x)} ${round(first.y)}`;
  for (let place = 1; place < points.length; place += 1) {
    const from = points[place - 1] as Spot;
    const to = points[place] as Spot;
    const half = (from.x + to.x) / 2;
    path += `C${round(half)} ${round(from.y)} ${round(half)} ${round(to.y)} ${round(to.x)} ${round(to.y)}`;
  }
  return path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
