// The types of the JSON API: the mirror of api.go, and a test holds the two
// together. Durations are seconds, rates per second, memory is bytes.

export type Status = "ok" | "scaling" | "starting" | "failing" | "idle" | "external";

export interface AppInfo {
  name: string;
  policy: string;
  listen: string;
  services: number;
  routes: number;
  version: string;
  started: string;
  trouble: string;
}

export interface Traffic {
  rate: number;
  errors: number;
  p50: number;
  p95: number;
  p99: number;
  inflight: number;
}

export interface Service extends Traffic {
  name: string;
  status: Status;
  ready: number;
  starting: number;
  draining: number;
  desired: number;
  min: number;
  max: number;
  waiting: number;
  address?: string[];
  protocol: string;
  uses: string[];
  goals: string[];
  slo?: number;
  quantile?: number;
  by?: string;
  reason?: string;
  spark?: number[];
}

export interface Instance extends Traffic {
  id: string;
  service: string;
  revision: string;
  slot: number;
  state: string;
  addr: string;
  pid?: number;
  created: string;
  ready_at?: string;
  restarts: number;
  reason?: string;
  cpu: number;
  memory: number;
}

export interface Edge extends Traffic {
  caller: string;
  callee: string;
  declared: boolean;
}

export interface RouteTarget {
  service: string;
  share: number;
}

export interface Route extends Traffic {
  name: string;
  match: string;
  to: RouteTarget[];
  redirect?: string;
  rewrite?: string;
  use: string[];
}

export interface RouteMatch {
  method: string;
  url: string;
  route?: Route;
}

export interface Step {
  name: string;
  value: number;
  text: string;
}

export interface Decision {
  service: string;
  replicas: number;
  previous?: number;
  by: string;
  reason: string;
  steps: Step[];
  at: string;
}

export interface Point extends Traffic {
  at: string;
  waiting: number;
  ready: number;
  desired: number;
}

export interface Line {
  seq: number;
  at: string;
  service: string;
  instance: string;
  stream: string;
  text: string;
}

export interface Frame {
  at: string;
  tick: boolean;
  app: AppInfo;
  services: Service[];
  instances: Instance[];
  edges: Edge[];
  routes: Route[];
  points?: Record<string, Point>;
  decisions: Decision[] | null;
}
