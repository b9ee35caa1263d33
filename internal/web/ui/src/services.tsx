// The first page: every service in one table, with what matters on top.
import { useComputed, useSignal } from "@preact/signals";
import { age, count, latency, rate, share } from "./format";
import { Empty, errorClass, hot, Pips, Scroll, ServiceLink, Spark, StatusBadge } from "./parts";
import { href } from "./route";
import { app, decisions, frame, services, sparks } from "./store";
import type { Service } from "./types";
import { Replicas } from "./decisions";
import { Graph } from "./edges";

type Column = { key: string; title: string; unit?: string; by?: (s: Service) => number; class?: string };

const COLUMNS: Column[] = [
  { key: "name", title: "Service" },
  { key: "ready", title: "Instances", by: (s) => s.ready },
  { key: "rate", title: "Rate", unit: "per second", by: (s) => s.rate, class: "num" },
  { key: "spark", title: "2 minutes", class: "wide" },
  { key: "errors", title: "Errors", by: (s) => (s.rate ? s.errors / s.rate : 0), class: "num" },
  { key: "p50", title: "p50", by: (s) => s.p50, class: "num wide" },
  { key: "p95", title: "p95", by: (s) => s.p95, class: "num" },
  { key: "p99", title: "p99", by: (s) => s.p99, class: "num wide" },
  { key: "inflight", title: "In flight", by: (s) => s.inflight, class: "num wide" },
  { key: "waiting", title: "Waiting", by: (s) => s.waiting, class: "num wide" },
];

export function ServicesPage() {
  return (
    <>
      <h1 class="hidden">Services</h1>
      <Summary />
      <section class="card flush" aria-labelledby="services-title">
        <h2 id="services-title" class="hidden">
          All services
        </h2>
        <Table />
      </section>
      <div class="two">
        <section class="card" aria-labelledby="graph-title">
          <div class="head">
            <h2 id="graph-title">Who calls whom</h2>
            <a href={href("graph")}>Larger</a>
          </div>
          <Graph />
        </section>
        <section class="card" aria-labelledby="recent-title">
          <div class="head">
            <h2 id="recent-title">Newest decisions</h2>
            <a href={href("decisions")}>All</a>
          </div>
          <Recent />
        </section>
      </div>
    </>
  );
}

function Summary() {
  const all = services.value;
  const edges = frame.value?.edges.filter((e) => e.caller === "gateway") ?? [];
  const sum = <T,>(list: T[], f: (v: T) => number) => list.reduce((n, v) => n + f(v), 0);
  const total = sum(edges, (e) => e.rate);
  const errors = sum(edges, (e) => e.errors);
  const p95 = Math.max(0, ...edges.map((e) => e.p95));
  const own = all.filter((s) => s.status !== "external");
  const ready = sum(own, (s) => s.ready);
  const desired = sum(own, (s) => s.desired);
  const failing = own.filter((s) => s.status === "failing").length;
  const waiting = sum(all, (s) => s.waiting);
  return (
    <dl class="facts" aria-label="Now">
      <Fact name="Requests" value={rate(total)} unit="/s" note="through the gateway" />
      <Fact name="Errors" value={share(errors, total)} tone={errors > 0 ? errorClass(errors, total) : ""} note={errors > 0 ? `${rate(errors)}/s` : "none"} />
      <Fact name="Latency p95" value={latency(p95)} note="slowest way in" />
      <Fact name="Instances" value={`${ready}`} unit={`/ ${desired}`} tone={failing ? "bad" : ""} note={failing ? `${count(failing, "service")} failing` : ready < desired ? "more on their way" : "as many as wanted"} />
      <Fact name="Waiting" value={`${waiting}`} tone={waiting > 0 ? "warn" : ""} note="for an instance" />
      <Fact name="Up" value={app.value && frame.value ? age(app.value.started, frame.value.at) : "–"} note={app.value?.listen ? `gateway ${app.value.listen}` : "no gateway"} />
    </dl>
  );
}

export function Fact({ name, value, unit, note, tone = "" }: { name: string; value: string; unit?: string; note?: string; tone?: string }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>
        <span class={`value ${tone}`}>{value}</span>
        {unit && <span class="unit"> {unit}</span>}
        {note && <span class="note">{note}</span>}
      </dd>
    </div>
  );
}

function Table() {
  const sort = useSignal({ key: "name", down: true });
  const sorted = useComputed(() => {
    const by = COLUMNS.find((c) => c.key === sort.value.key)?.by;
    if (!by) return sort.value.down ? services.value : [...services.value].reverse();
    const sign = sort.value.down ? -1 : 1;
    return [...services.value].sort((a, b) => sign * (by(a) - by(b)));
  });
  if (!services.value.length) return <Empty>No manifest was applied yet.</Empty>;
  return (
    <Scroll label="Services, a table">
      <table class="services">
        <thead>
          <tr>
            {COLUMNS.map((c) => {
              const on = sort.value.key === c.key;
              const sortable = c.by || c.key === "name";
              return (
                <th key={c.key} scope="col" class={c.class} aria-sort={!on ? undefined : sort.value.down === (c.key === "name") ? "ascending" : "descending"}>
                  {sortable ? (
                    <button type="button" onClick={() => (sort.value = { key: c.key, down: on ? !sort.value.down : true })}>
                      {c.title}
                      <span class="arrow" aria-hidden="true">
                        {on ? (sort.value.down === (c.key === "name") ? "↑" : "↓") : ""}
                      </span>
                    </button>
                  ) : (
                    c.title
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.value.map((s) => (
            <Row key={s.name} s={s} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Row({ s }: { s: Service }) {
  return (
    <tr data-service={s.name}>
      <th scope="row">
        <ServiceLink name={s.name} row />
        <StatusBadge status={s.status} />
      </th>
      <td>
        {s.status === "external" ? (
          <span class="muted">{count(s.address?.length ?? 0, "address", "addresses")}</span>
        ) : (
          <span class="instances">
            <span class="figures" data-cell="ready">
              {s.ready}
              <span class="muted">/{s.desired}</span>
            </span>
            <Pips s={s} />
          </span>
        )}
      </td>
      <td class="num strong" data-cell="rate">
        {rate(s.rate)}
      </td>
      <td class="wide">
        <Spark values={sparks.value[s.name] ?? []} />
      </td>
      <td class={`num ${errorClass(s.errors, s.rate)}`}>{share(s.errors, s.rate)}</td>
      <td class="num wide">{latency(s.p50)}</td>
      <td class={`num ${s.quantile === 0.95 ? hot(s.p95, s.slo ?? 0) : ""}`}>{latency(s.p95)}</td>
      <td class={`num wide ${s.quantile === 0.99 ? hot(s.p99, s.slo ?? 0) : ""}`}>{latency(s.p99)}</td>
      <td class="num wide">{rate(s.inflight)}</td>
      <td class={`num wide ${s.waiting ? "warn" : "faint"}`}>{s.waiting}</td>
    </tr>
  );
}

function Recent() {
  const newest = [...decisions.value].reverse().slice(0, 7);
  if (!newest.length) return <Empty>None yet. A decision is made when load, capacity or bounds ask for another count.</Empty>;
  return (
    <ol class="recent">
      {newest.map((d) => (
        <li key={d.service + d.at}>
          <span class="when muted">{age(d.at, frame.value?.at ?? d.at)}</span>
          <span class="what">
            <ServiceLink name={d.service} /> <Replicas d={d} />
            <span class="why">{d.reason}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}
