// What the console's server tells, as it tells it. Times are seconds since the epoch, shares 0 to 1, durations seconds.

export type Level = 'ok' | 'warn' | 'down';
export type State = 'ready' | 'starting' | 'unready' | 'down' | 'held' | 'unknown';
export type BreakerState = 'closed' | 'open' | 'half_open';
export type Action = 'retry' | 'skip' | 'resolve' | 'replay' | 'drop';

export interface Sentence {
  level: Level;
  text: string;
  subject: string | null;
  since: number | null;
  damage: string;
  safe: string;
}

export interface Outbox {
  rows: number;
  oldest: number | null;
}

export interface Service {
  name: string;
  kind: 'service' | 'gateway' | 'external';
  state: State;
  since: number | null;
  rate: number;
  errors: number;
  p95: number | null;
  retries: number;
  shed: number;
  outbox: Outbox | null;
  /** The share of failures in each part of the window, the oldest first; null where nothing came. */
  history: (number | null)[];
  /** Requests a second in each part. */
  traffic: (number | null)[];
}

/** A service with all that is known of it. */
export interface ServiceMore extends Service {
  /** p95 in each part of the window, and how many seconds each part has. */
  slowness: (number | null)[];
  step: number;
  description: string;
  database: { reached: boolean | null; since: number; error: string } | null;
  traces: TraceLine[];
}

export interface Edge {
  from: string;
  to: string;
  kind: 'call' | 'event';
  rate: number;
  errors: number;
  p95: number | null;
  breaker: BreakerState | null;
  lag: number | null;
}

export interface Change {
  at: number;
  service: string;
  kind: string;
  text: string;
}

export interface Person {
  kind: 'saga' | 'dead';
  service: string;
  id: string | number;
  title: string;
  detail: string;
  since: number;
  actions: Action[];
}

export interface Breaker {
  service: string;
  policy: string;
  state: BreakerState;
  since: number | null;
}

export interface View {
  at: number;
  version: number;
  system: string;
  sentence: Sentence;
  strip: {
    breakers: Breaker[];
    outboxes: { service: string; rows: number; oldest: number | null }[];
    sagas: { running: number; compensating: number; stuck: number };
  };
  services: Service[];
  edges: Edge[];
  changes: Change[];
  people: Person[];
}

export interface TraceLine {
  id: string;
  name: string;
  service: string;
  at: number;
  seconds: number;
  spans: number;
  errors: number;
}

export interface Span {
  id: string;
  parent: string | null;
  service: string;
  name: string;
  kind: string;
  at: number;
  seconds: number;
  error: boolean;
  attributes: Record<string, unknown>;
}

export interface SagaLine {
  service: string;
  id: string;
  name: string;
  key: string;
  status: string;
  reason: string;
  started_at: number;
  changed_at: number;
}

export interface Happened {
  at: number;
  what: string;
  step: string;
  note: string;
  by_hand: boolean;
}

export interface Saga {
  service: string;
  id: string;
  saga: string;
  key: string;
  status: string;
  reason: string;
  trace: string;
  parent: string | null;
  /** The step at which it stands; empty when it has ended. */
  stands_at: string;
  children: Omit<SagaLine, 'service'>[];
  timeline: Happened[];
}

export interface DeadLine {
  service: string;
  id: number;
  group: string;
  type: string;
  key: string;
  attempts: number;
  held: number;
  age: number;
  reason: string;
}

export interface Letter extends DeadLine {
  event_id: string;
  state: string;
  envelope: unknown;
  body: string | null;
}

export interface Side {
  requests: number;
  errors: number;
  refused: number;
}

export interface Ramp {
  route: string;
  from: string;
  to: string;
  state: string;
  percent: number;
  steps: number[];
  owner: string;
  needs: string;
  control: Side;
  candidate: Side;
  pairs: number;
  differing: number;
  evidence: Record<string, number>;
  limit: number;
  decision: { at: number; verdict: string; by: string; before: number; after: number; reason: string } | null;
}

export interface Finding {
  rule: string;
  verdict: string;
  severity: string;
  services: string[];
  file: string | null;
  line: number | null;
  message: string;
  fingerprint: string;
  why: string;
  fix: string;
}

/** What `skerry check -o json` prints. */
export interface Checks {
  findings: Finding[];
  unknown: Finding[];
  allowed: Finding[];
  known: Finding[];
  rules: { rule: string; verdict: string }[];
  services: number;
  files: number;
}

/** A database that could not be asked, and why. */
export interface Unasked {
  service: string;
  error: string;
}
