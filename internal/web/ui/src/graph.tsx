// The service graph: dagre lays it out, and what flows is drawn anew every second.
import { graphlib, layout } from "@dagrejs/dagre";
import { useComputed } from "@preact/signals";
import { latency, rate, share } from "./format";
import { Empty } from "./parts";
import { serviceHref } from "./route";
import { frame } from "./store";
import type { Edge, Service } from "./types";

const WIDTH = 158;
const HEIGHT = 54;
const GATEWAY = 104;
const LABEL = { width: 58, height: 20 };
const TIP = 8;

type XY = { x: number; y: number };
interface Plan {
  width: number;
  height: number;
  nodes: Map<string, XY>;
  edges: Map<string, { points: XY[]; label: XY }>;
}

const key = (e: { caller: string; callee: string }) => `${e.caller}\n${e.callee}`;

export function Graph({ large }: { large?: boolean }) {
  // The layout depends on who is there alone: nodes rest while figures change.
  const shape = useComputed(() => JSON.stringify([frame.value?.services.map((s) => s.name), frame.value?.edges.map(key)]));
  const plan = useComputed(() => {
    const [names, edges] = JSON.parse(shape.value) as [string[] | null, string[] | null];
    return place(names ?? [], edges ?? []);
  });
  const f = frame.value;
  const p = plan.value;
  if (!f || !f.services.length) return <Empty>There is no service yet.</Empty>;
  const services = new Map(f.services.map((s) => [s.name, s]));
  const top = Math.max(1, ...f.edges.map((e) => e.rate));
  return (
    <div class={`graph ${large ? "large" : ""}`}>
      <svg viewBox={`0 0 ${p.width} ${p.height}`} width={p.width} height={p.height} role="group" aria-label="Services as nodes, calls as lines between them; the table of edges says the same">
        {f.edges.map((e) => {
          const way = p.edges.get(key(e));
          return way && <Line key={key(e)} e={e} points={way.points} top={top} />;
        })}
        {f.edges.map((e) => {
          const way = p.edges.get(key(e));
          return way && <Label key={key(e)} e={e} at={way.label} />;
        })}
        {[...p.nodes].map(([name, at]) => (
          <Node key={name} name={name} at={at} s={services.get(name)} edges={f.edges} />
        ))}
      </svg>
    </div>
  );
}

// place tries the edges in some orders, since dagre's heuristics depend on it, and
// takes the layout in which the fewest lines cross.
function place(names: string[], edges: string[]): Plan {
  const half = Math.ceil(edges.length / 2);
  const orders = [edges, [...edges].reverse(), [...edges.slice(half), ...edges.slice(0, half)]];
  const plans = orders.map((e) => arrange(names, e));
  const crossed = plans.map(crossings);
  return plans[crossed.indexOf(Math.min(...crossed))]!;
}

function crossings(p: Plan): number {
  const lines = [...p.edges.values()].map((e) => e.points);
  const left = (a: XY, b: XY, c: XY) => Math.sign((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x));
  let n = 0;
  lines.forEach((one, i) => {
    for (const other of lines.slice(i + 1)) {
      for (let a = 1; a < one.length; a++) {
        for (let b = 1; b < other.length; b++) {
          const [p1, p2, q1, q2] = [one[a - 1]!, one[a]!, other[b - 1]!, other[b]!];
          if (left(p1, p2, q1) * left(p1, p2, q2) < 0 && left(q1, q2, p1) * left(q1, q2, p2) < 0) n++;
        }
      }
    }
  });
  return n;
}

function arrange(names: string[], edges: string[]): Plan {
  const g = new graphlib.Graph();
  g.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 44, edgesep: 14, marginx: 6, marginy: 6 });
  g.setDefaultEdgeLabel(() => ({}));
  const ends = edges.map((e) => e.split("\n") as [string, string]);
  const joined = new Set(ends.flat());
  for (const n of joined) g.setNode(n, { width: n === "gateway" ? GATEWAY : WIDTH, height: HEIGHT });
  for (const [a, b] of ends) g.setEdge(a, b, { ...LABEL, labelpos: "c" });
  layout(g);
  const size = g.graph() as { width?: number; height?: number };
  const plan: Plan = { width: Math.max(0, size.width ?? 0), height: Math.max(0, size.height ?? 0), nodes: new Map(), edges: new Map() };
  for (const n of g.nodes()) {
    const at = g.node(n) as XY;
    plan.nodes.set(n, { x: at.x, y: at.y });
  }
  for (const e of g.edges()) {
    const way = g.edge(e) as { points: XY[] } & XY;
    plan.edges.set(`${e.v}\n${e.w}`, { points: way.points, label: { x: way.x, y: way.y } });
  }
  for (const [a, b] of ends) {
    const way = plan.edges.get(`${a}\n${b}`);
    const from = plan.nodes.get(a)!;
    const to = plan.nodes.get(b)!;
    if (!way || a === b) continue;
    // From the right side of the caller to the left side of the callee, by way of
    // what dagre found free; a call against the stream keeps dagre's own way.
    const right = { x: from.x + (a === "gateway" ? GATEWAY : WIDTH) / 2, y: from.y };
    const left = { x: to.x - WIDTH / 2 - 1, y: to.y };
    if (left.x > right.x) way.points = [right, ...way.points.slice(1, -1), left];
  }
  // Who calls nobody and is called by nobody stands below, in rows.
  const alone = names.filter((n) => !joined.has(n));
  const columns = Math.max(1, Math.floor((Math.max(plan.width, 3 * WIDTH) - 12) / (WIDTH + 16)));
  alone.forEach((n, i) => {
    const x = 6 + WIDTH / 2 + (i % columns) * (WIDTH + 16);
    const y = plan.height + 12 + HEIGHT / 2 + Math.floor(i / columns) * (HEIGHT + 12);
    plan.nodes.set(n, { x, y });
  });
  for (const at of plan.nodes.values()) {
    plan.width = Math.max(plan.width, at.x + WIDTH / 2 + 6);
    plan.height = Math.max(plan.height, at.y + HEIGHT / 2 + 6);
  }
  plan.width = Math.ceil(plan.width);
  plan.height = Math.ceil(plan.height);
  return plan;
}

// curve goes through all points, level at each of them.
function curve(p: XY[]): string {
  let d = `M${p[0]!.x},${p[0]!.y}`;
  for (let i = 1; i < p.length; i++) {
    const a = p[i - 1]!;
    const b = p[i]!;
    const middle = (a.x + b.x) / 2;
    d += `C${middle},${a.y} ${middle},${b.y} ${b.x},${b.y}`;
  }
  return d;
}

function tone(e: Edge): string {
  if (e.rate <= 0) return "quiet";
  if (e.errors / e.rate > 0.01) return "bad";
  if (e.errors > 0) return "warn";
  return "";
}

function Line({ e, points, top }: { e: Edge; points: XY[]; top: number }) {
  const width = e.rate > 0 ? 1.25 + 3.25 * Math.sqrt(e.rate / top) : 1.25;
  const d = curve(points);
  const end = points.at(-1)!;
  return (
    <g class={`edge ${tone(e)} ${e.declared ? "" : "undeclared"}`}>
      <path class="way" d={d} stroke-width={width} />
      {e.rate > 0 && <path class="flow" d={d} stroke-width={Math.max(1, width * 0.5)} />}
      <path class="tip" d={`M${end.x},${end.y}l${-TIP},${-TIP * 0.6}v${TIP * 1.2}z`} />
    </g>
  );
}

function Label({ e, at }: { e: Edge; at: XY }) {
  const words = `${e.caller} calls ${e.callee}: ${rate(e.rate)} per second, errors ${share(e.errors, e.rate)}, p95 ${latency(e.p95)}`;
  return (
    <g class={`label ${tone(e)}`} transform={`translate(${at.x},${at.y})`} role="img" aria-label={words} data-edge={`${e.caller}>${e.callee}`}>
      <title>{words}</title>
      <rect x={-LABEL.width / 2} y={-LABEL.height / 2} width={LABEL.width} height={LABEL.height} rx={LABEL.height / 2} />
      <text dy="0.34em">{rate(e.rate)}/s</text>
    </g>
  );
}

function Node({ name, at, s, edges }: { name: string; at: XY; s: Service | undefined; edges: Edge[] }) {
  if (!s) {
    const total = edges.filter((e) => e.caller === name).reduce((n, e) => n + e.rate, 0);
    return (
      <g class="node gateway" transform={`translate(${at.x - GATEWAY / 2},${at.y - HEIGHT / 2})`}>
        <rect width={GATEWAY} height={HEIGHT} rx={HEIGHT / 2} />
        <text x={GATEWAY / 2} y={23} class="name">{name}</text>
        <text x={GATEWAY / 2} y={40} class="sub">{rate(total)}/s</text>
      </g>
    );
  }
  const sub = s.status === "external" ? "external" : `${s.ready}/${s.desired} ready`;
  return (
    <a class={`node ${s.status}`} href={serviceHref(name)}>
      <g transform={`translate(${at.x - WIDTH / 2},${at.y - HEIGHT / 2})`}>
        <rect width={WIDTH} height={HEIGHT} rx={9} />
        <circle class="state" cx={16} cy={20} r={4} />
        <text x={28} y={24} class="name">{name.length > 15 ? name.slice(0, 14) + "…" : name}</text>{" "}
        <text x={28} y={42} class="sub">{sub}</text>{" "}
        <text x={WIDTH - 12} y={42} class="sub end">{latency(s.p95)}</text>
      </g>
    </a>
  );
}
