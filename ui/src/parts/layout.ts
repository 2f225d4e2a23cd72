// Where everything on the map stands. Left to right, as calls and events flow; the same picture for the same system.

import dagre from '@dagrejs/dagre';
import type { Edge, Service } from '../model';

export const WIDTH = 168;
export const HEIGHT = 56;
const LABEL = { width: 96, height: 34 };

export interface Spot {
  x: number;
  y: number;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Map<string, Spot>;
  edges: Map<string, { path: string; middle: Spot }>;
}

/** What an edge is known by. */
export function named(edge: Pick<Edge, 'from' | 'to' | 'kind'>): string {
  return JSON.stringify([edge.from, edge.to, edge.kind]);
}

/** What the layout depends on: while this stays, so does the picture. */
export function shapeOf(services: readonly Service[], edges: readonly Edge[]): string {
  const names = new Set([...services.map((one) => one.name), ...edges.flatMap((one) => [one.from, one.to])]);
  return JSON.stringify([[...names].sort(), edges.map(named).sort()]);
}

export function layout(shape: string): Layout {
  const [names, keys] = JSON.parse(shape) as [string[], string[]];
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 26, ranksep: 38, edgesep: 16, marginx: 8, marginy: 8 });
  for (const name of names) graph.setNode(name, { width: WIDTH, height: HEIGHT });
  for (const key of keys) {
    const [from, to] = JSON.parse(key) as [string, string, string];
    // A topic leads away from who publishes; a call of oneself has no line.
    if (from !== to) graph.setEdge(from, to, { ...LABEL, labelpos: 'c' }, key);
  }
  dagre.layout(graph);
  const found: Layout = { width: graph.graph().width ?? 0, height: graph.graph().height ?? 0, nodes: new Map(), edges: new Map() };
  for (const name of names) {
    const { x, y } = graph.node(name) as Spot;
    found.nodes.set(name, { x, y });
  }
  for (const each of graph.edges()) {
    const { points, x, y } = graph.edge(each) as unknown as { points: Spot[]; x: number; y: number };
    found.edges.set(each.name ?? '', { path: curve(points), middle: { x, y } });
  }
  return found;
}

/** A line that is smooth where it bends: between the middles of its parts, each bend is where it is drawn to. */
function curve(points: readonly Spot[]): string {
  const first = points[0];
  const last = points.at(-1);
  if (!first || !last) return '';
  let path = `M${round(first.x)} ${round(first.y)}`;
  for (let place = 1; place < points.length - 1; place += 1) {
    const bend = points[place] as Spot;
    const next = points[place + 1] as Spot;
    const end = place === points.length - 2 ? next : { x: (bend.x + next.x) / 2, y: (bend.y + next.y) / 2 };
    path += `Q${round(bend.x)} ${round(bend.y)} ${round(end.x)} ${round(end.y)}`;
  }
  return points.length < 3 ? `${path}L${round(last.x)} ${round(last.y)}` : path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
