// Decisions: when which count was wanted, and the reasoning from the signal to it.
import { useSignal } from "@preact/signals";
import { useState } from "preact/hooks";
import { clock, fine } from "./format";
import { Empty, ServiceLink } from "./parts";
import { href, place, serviceHref } from "./route";
import { decisions, frame, services } from "./store";
import type { Decision } from "./types";

export function DecisionsPage() {
  const of = place.value.query.get("service") ?? "";
  const list = decisions.value.filter((d) => !of || d.service === of);
  return (
    <>
      <div class="title">
        <h1>Decisions</h1>
        <label class="pick">
          Service
          <select value={of} onChange={(e) => (location.hash = href("decisions", "", { service: e.currentTarget.value }))}>
            <option value="">all</option>
            {services.value
              .filter((s) => s.status !== "external")
              .map((s) => (
                <option key={s.name} value={s.name}>
                  {s.name}
                </option>
              ))}
          </select>
        </label>
      </div>
      <section class="card" aria-labelledby="lanes-title">
        <h2 id="lanes-title">Wanted instances over time</h2>
        <Lanes list={list} />
      </section>
      <section class="card" aria-labelledby="list-title">
        <h2 id="list-title">One by one, newest first</h2>
        <Timeline list={list} named />
      </section>
    </>
  );
}

export function Replicas({ d }: { d: Decision }) {
  const up = d.previous !== undefined && d.replicas > d.previous;
  const down = d.previous !== undefined && d.replicas < d.previous;
  return (
    <span class={`replicas ${up ? "up" : down ? "down" : ""}`}>
      {d.previous !== undefined && d.previous !== d.replicas && (
        <>
          {d.previous} <span aria-label="to">→</span>{" "}
        </>
      )}
      <b>{d.replicas}</b>
      <span aria-hidden="true">{up ? " ▲" : down ? " ▼" : ""}</span>
    </span>
  );
}

// Timeline is a list of decisions, newest first, each with its chain of steps.
export function Timeline({ list, named }: { list: Decision[]; named?: boolean }) {
  const shown = useSignal(20);
  if (!list.length) return <Empty>No decision yet. One is made when load, capacity or bounds ask for another count.</Empty>;
  const newest = [...list].reverse();
  return (
    <>
      <ol class="timeline">
        {newest.slice(0, shown.value).map((d, i) => (
          <Entry key={d.service + d.at} d={d} named={named} open={i === 0} />
        ))}
      </ol>
      {newest.length > shown.value && (
        <button type="button" onClick={() => (shown.value += 40)}>
          Show older ones
        </button>
      )}
    </>
  );
}

function Entry({ d, named, open }: { d: Decision; named?: boolean; open: boolean }) {
  const [first] = useState(open); // a newer one must not close what is being read
  const way = d.previous === undefined ? "" : d.replicas > d.previous ? "up" : d.replicas < d.previous ? "down" : "";
  return (
    <li class={way}>
      <details open={first}>
        <summary data-row>
          <time dateTime={d.at} title={fine(d.at)}>
            {clock(d.at)}
          </time>
          {named && <span class="who">{d.service}</span>}
          <Replicas d={d} />
          <span class="tag">{d.by}</span>
          <span class="why">{d.reason}</span>
        </summary>
        {d.steps.length > 0 && (
          <ol class="steps">
            {d.steps.map((s, i) => (
              <li key={i} class={s.name}>
                <span class="name">{s.name}</span>
                <span class="value">{figure(s.value)}</span>
                <span class="text">{s.text}</span>
              </li>
            ))}
          </ol>
        )}
        {named && (
          <p class="more">
            <a href={serviceHref(d.service)}>Open {d.service}</a>
          </p>
        )}
      </details>
    </li>
  );
}

function figure(v: number): string {
  if (v === 0) return "0";
  if (Math.abs(v) < 0.01) return v.toExponential(1);
  return v.toFixed(Number.isInteger(v) ? 0 : Math.abs(v) < 10 ? 2 : 1);
}

const LANE = 44;
const SPAN = 600; // seconds

// Lanes shows, for each service, the wanted count over the last ten minutes.
function Lanes({ list }: { list: Decision[] }) {
  const now = Date.parse(frame.value?.at ?? "") / 1000;
  const names = [...new Set(list.map((d) => d.service))].sort();
  if (!names.length || !now) return <Empty>Nothing to draw yet.</Empty>;
  const first = Math.min(...list.map((d) => Date.parse(d.at) / 1000));
  const span = Math.min(SPAN, Math.max(60, now - first + 5));
  return (
    <div class="lanes">
      {names.map((n) => (
        <Lane key={n} name={n} list={list.filter((d) => d.service === n)} now={now} span={span} />
      ))}
      <div class="scale muted" aria-hidden="true">
        <span>{clock((now - span) * 1000)}</span>
        <span>{clock((now - span / 2) * 1000)}</span>
        <span>now</span>
      </div>
    </div>
  );
}

function Lane({ name, list, now, span }: { name: string; list: Decision[]; now: number; span: number }) {
  const W = 1000;
  const top = Math.max(1, ...list.map((d) => d.replicas));
  const x = (at: string) => Math.max(0, W - ((now - Date.parse(at) / 1000) / span) * W);
  const y = (n: number) => LANE - 6 - (n / top) * (LANE - 14);
  let line = "";
  let level = list[0]?.previous ?? list[0]?.replicas ?? 0;
  line = `M0,${y(level)}`;
  for (const d of list) {
    line += `H${x(d.at).toFixed(1)}V${y(d.replicas).toFixed(1)}`;
    level = d.replicas;
  }
  line += `H${W}`;
  const last = list.at(-1);
  return (
    <div class="lane">
      <span class="who">
        <ServiceLink name={name} />
      </span>
      <svg viewBox={`0 0 ${W} ${LANE}`} preserveAspectRatio="none" role="img" aria-label={`${name}: ${list.length} decisions, between ${Math.min(...list.map((d) => d.replicas))} and ${top}, now ${level}`}>
        <path class="area" d={`${line}V${LANE - 6}H0Z`} />
        <path class="line" d={line} vector-effect="non-scaling-stroke" />
      </svg>
      <span class="now">{last?.replicas ?? ""}</span>
    </div>
  );
}
