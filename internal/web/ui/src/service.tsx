// One service: what it does now, how it got there, and which instances do it.
import { useSignal, useSignalEffect } from "@preact/signals";
import { get, post } from "./api";
import { Timeline } from "./decisions";
import { EdgeTable } from "./edges";
import { age, bytes, clock, latency, NONE, rate, share } from "./format";
import { lazy } from "./lazy";
import { Empty, errorClass, hot, Pips, Scroll, StatusBadge } from "./parts";
import { href } from "./route";
import { Fact } from "./services";
import { decisions, frame, services, streams } from "./store";
import type { Instance, Point, Service } from "./types";
import type { ChartProps } from "./chart";

const Chart = lazy<ChartProps>(() => import("./chart").then((m) => m.Chart), "chart");

const KEPT = 600; // points, one a second
const WINDOWS = [2, 5, 10];

export function ServicePage({ name }: { name: string }) {
  const s = services.value.find((x) => x.name === name);
  if (!s) {
    return (
      <div class="center">
        <h1>No service is named {name}</h1>
        <p>
          <a href="#/services">All services</a>
        </p>
      </div>
    );
  }
  return (
    <>
      <div class="title">
        <h1>{s.name}</h1>
        <StatusBadge status={s.status} />
        {s.goals.length > 0 && <span class="muted">goal {s.goals.join(", ")}</span>}
        <span class="links">
          <a href={href("logs", "", { service: s.name })}>Logs</a>
        </span>
      </div>
      {s.reason && (
        <p class="because">
          <b>{s.desired}</b> wanted by <code>{s.by}</code>: {s.reason}
        </p>
      )}
      <Facts s={s} />
      <Charts s={s} />
      <Instances s={s} />
      <div class="two even">
        <Neighbours name={name} />
        {s.status !== "external" && <Floor s={s} />}
      </div>
      {s.status !== "external" && (
        <section class="card" aria-labelledby="why-title">
          <h2 id="why-title">Why this replica count</h2>
          <Timeline list={decisions.value.filter((d) => d.service === name)} />
        </section>
      )}
    </>
  );
}

function Facts({ s }: { s: Service }) {
  return (
    <dl class="facts" aria-label="Now">
      {s.status !== "external" && (
        <div class="fact">
          <dt>Instances</dt>
          <dd>
            <span class="value">{s.ready}</span>
            <span class="unit"> / {s.desired}</span>
            <span class="note">
              <Pips s={s} /> of {s.min}–{s.max}
            </span>
          </dd>
        </div>
      )}
      <Fact name="Requests" value={rate(s.rate)} unit="/s" note={s.ready > 0 ? `${rate(s.rate / s.ready)}/s each` : undefined} />
      <Fact name="Errors" value={share(s.errors, s.rate)} tone={s.errors > 0 ? errorClass(s.errors, s.rate) : ""} note={s.errors > 0 ? `${rate(s.errors)}/s` : "none"} />
      <Fact name="p50" value={latency(s.p50)} />
      <Fact name="p95" value={latency(s.p95)} tone={s.quantile === 0.95 ? hot(s.p95, s.slo ?? 0) : ""} note={s.quantile === 0.95 && s.slo ? `goal ${latency(s.slo)}` : undefined} />
      <Fact name="p99" value={latency(s.p99)} tone={s.quantile === 0.99 ? hot(s.p99, s.slo ?? 0) : ""} note={s.quantile === 0.99 && s.slo ? `goal ${latency(s.slo)}` : undefined} />
      <Fact name="In flight" value={rate(s.inflight)} note={s.waiting ? `${s.waiting} waiting` : undefined} tone={s.waiting ? "warn" : ""} />
    </dl>
  );
}

// useHistory is what was kept, and then what comes with every second.
function useHistory(name: string) {
  const points = useSignal<Point[]>([]);
  const failed = useSignal("");
  useSignalEffect(() => {
    streams.value; // a new connection: something may have been missed
    const end = new AbortController();
    get<Point[]>(`/api/v1/services/${encodeURIComponent(name)}/history`, end.signal).then(
      (past) => {
        const last = past.at(-1)?.at ?? "";
        points.value = [...past, ...points.peek().filter((p) => p.at > last)].slice(-KEPT);
        failed.value = "";
      },
      (e) => {
        if (!end.signal.aborted) failed.value = (e as Error).message;
      },
    );
    return () => end.abort();
  });
  useSignalEffect(() => {
    const next = frame.value?.points?.[name];
    if (!next || next.at <= (points.peek().at(-1)?.at ?? "")) return;
    points.value = [...points.peek(), next].slice(-KEPT);
  });
  return { points: points.value, failed: failed.value };
}

function Charts({ s }: { s: Service }) {
  // Soon after the start two minutes are all that there is to see.
  const minutes = useSignal(Date.parse(frame.peek()!.at) - Date.parse(frame.peek()!.app.started) < 180_000 ? 2 : 5);
  const { points, failed } = useHistory(s.name);
  const window = minutes.value * 60;
  const times = points.map((p) => Date.parse(p.at) / 1000);
  // A quantile of no requests is a gap, not zero.
  const seen = (f: (p: Point) => number) => points.map((p) => f(p) || null);
  const q = s.quantile ? `p${Number((s.quantile * 100).toFixed(1))} goal` : "goal";
  return (
    <section aria-labelledby="charts-title">
      <div class="head">
        <h2 id="charts-title">The last minutes</h2>
        <fieldset class="segments">
          <legend class="hidden">How many minutes</legend>
          {WINDOWS.map((m) => (
            <label key={m}>
              <input type="radio" name="window" checked={minutes.value === m} onChange={() => (minutes.value = m)} />
              <span>{m} min</span>
            </label>
          ))}
        </fieldset>
      </div>
      {failed && <p class="banner warn">The past can't be shown: {failed}</p>}
      <div class="charts">
        <Chart
          title="Requests"
          unit="per second"
          times={times}
          window={window}
          format={rate}
          series={[
            { name: "rate", color: "--c1", fill: true, values: points.map((p) => p.rate) },
            { name: "errors", color: "--bad", values: points.map((p) => p.errors) },
          ]}
        />
        <Chart
          title="Latency"
          unit="of answered requests"
          times={times}
          window={window}
          format={latency}
          limit={s.slo ? { name: q, value: s.slo } : undefined}
          series={[
            { name: "p50", color: "--c3", values: seen((p) => p.p50) },
            { name: "p95", color: "--c1", values: seen((p) => p.p95) },
            { name: "p99", color: "--c4", values: seen((p) => p.p99) },
          ]}
        />
        {s.status !== "external" && (
          <Chart
            title="Instances"
            unit="ready and wanted"
            times={times}
            window={window}
            format={(v) => (Number.isInteger(v) ? String(v) : "")}
            least={2}
            series={[
              { name: "ready", color: "--c2", fill: true, step: true, values: points.map((p) => p.ready) },
              { name: "wanted", color: "--c4", dash: true, step: true, values: points.map((p) => p.desired) },
            ]}
          />
        )}
        <Chart
          title="In flight"
          unit="requests"
          times={times}
          window={window}
          format={rate}
          series={[
            { name: "at instances", color: "--c1", fill: true, values: points.map((p) => p.inflight) },
            { name: "waiting", color: "--warn", values: points.map((p) => p.waiting) },
          ]}
        />
      </div>
      <Figures points={points} window={window} />
    </section>
  );
}

// Figures is the charts as a table, every half minute.
function Figures({ points, window }: { points: Point[]; window: number }) {
  const open = useSignal(false);
  const rows = points.slice(-window).filter((_, i, all) => (all.length - 1 - i) % 30 === 0);
  return (
    <details class="figures-table" onToggle={(e) => (open.value = e.currentTarget.open)}>
      <summary>The charts as a table</summary>
      {open.value && (
        <Scroll label="The charts as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {["Rate", "Errors", "p50", "p95", "p99", "In flight", "Waiting", "Ready", "Wanted"].map((t) => (
                  <th key={t} scope="col" class="num">
                    {t}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.reverse().map((p) => (
                <tr key={p.at}>
                  <th scope="row">{clock(p.at)}</th>
                  <td class="num">{rate(p.rate)}</td>
                  <td class="num">{rate(p.errors)}</td>
                  <td class="num">{latency(p.p50)}</td>
                  <td class="num">{latency(p.p95)}</td>
                  <td class="num">{latency(p.p99)}</td>
                  <td class="num">{rate(p.inflight)}</td>
                  <td class="num">{p.waiting}</td>
                  <td class="num">{p.ready}</td>
                  <td class="num">{p.desired}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </details>
  );
}

function Instances({ s }: { s: Service }) {
  const f = frame.value!;
  const list = f.instances.filter((i) => i.service === s.name && i.state !== "gone");
  return (
    <section class="card flush" aria-labelledby="instances-title">
      <div class="head">
        <h2 id="instances-title">Instances</h2>
      </div>
      {s.status === "external" ? (
        <Empty>Swell does not run this service; it is at {s.address?.join(", ")}.</Empty>
      ) : !list.length ? (
        <Empty>There is none. The next request starts one and waits for it.</Empty>
      ) : (
        <Scroll label={`Instances of ${s.name}, a table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Instance</th>
                <th scope="col">State</th>
                <th scope="col">Address</th>
                <th scope="col" class="num">Rate</th>
                <th scope="col" class="num">Errors</th>
                <th scope="col" class="num">p95</th>
                <th scope="col" class="num">In flight</th>
                <th scope="col" class="num">CPU cores</th>
                <th scope="col" class="num">Memory</th>
                <th scope="col" class="num">Restarts</th>
                <th scope="col" class="num">Age</th>
                <th scope="col">Reason</th>
              </tr>
            </thead>
            <tbody>
              {list.map((i) => (
                <InstanceRow key={i.id} i={i} now={f.at} />
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </section>
  );
}

function InstanceRow({ i, now }: { i: Instance; now: string }) {
  return (
    <tr>
      <th scope="row">
        <a class="mono" data-row href={href("logs", "", { service: i.service, instance: i.id })} title={`Revision ${i.revision}${i.pid ? `, process ${i.pid}` : ""}: its logs`}>
          {i.id}
        </a>
      </th>
      <td>
        <span class={`badge ${i.state}`}>
          <i class="dot" aria-hidden="true" />
          {i.state}
        </span>
      </td>
      <td class="mono muted">{i.addr || "–"}</td>
      <td class="num">{rate(i.rate)}</td>
      <td class={`num ${errorClass(i.errors, i.rate)}`}>{share(i.errors, i.rate)}</td>
      <td class="num">{latency(i.p95)}</td>
      <td class="num">{rate(i.inflight)}</td>
      <td class="num">{i.memory > 0 ? i.cpu.toFixed(2) : NONE}</td>
      <td class="num">{bytes(i.memory)}</td>
      <td class={`num ${i.restarts ? "warn" : "faint"}`}>{i.restarts}</td>
      <td class="num">{age(i.created, now)}</td>
      <td class="reason">{i.reason}</td>
    </tr>
  );
}

function Neighbours({ name }: { name: string }) {
  const edges = frame.value!.edges;
  return (
    <section class="card flush" aria-labelledby="edges-title">
      <div class="head">
        <h2 id="edges-title">Calls</h2>
      </div>
      <Scroll label="Calls, a table">
        <EdgeTable edges={edges.filter((e) => e.caller === name || e.callee === name)} />
      </Scroll>
    </section>
  );
}

function Floor({ s }: { s: Service }) {
  const n = useSignal(String(Math.max(1, s.desired)));
  const life = useSignal("10m");
  const said = useSignal<{ ok: boolean; text: string } | null>(null);
  const busy = useSignal(false);
  const send = async (replicas: number) => {
    busy.value = true;
    try {
      const r = await post<{ until: string }>(`/api/v1/services/${encodeURIComponent(s.name)}/scale`, { replicas, for: life.value });
      said.value = { ok: true, text: replicas ? `At least ${replicas} until ${clock(r.until)}.` : "The floor is taken back." };
    } catch (e) {
      said.value = { ok: false, text: (e as Error).message };
    } finally {
      busy.value = false;
    }
  };
  return (
    <section class="card" aria-labelledby="floor-title">
      <h2 id="floor-title">A floor by hand</h2>
      <form
        class="floor"
        onSubmit={(e) => {
          e.preventDefault();
          send(Number(n.value));
        }}
      >
        <label>
          At least
          <input type="number" min={1} max={s.max} step={1} required value={n} onInput={(e) => (n.value = e.currentTarget.value)} />
        </label>
        <label>
          for
          <select value={life} onChange={(e) => (life.value = e.currentTarget.value)}>
            {["5m", "10m", "30m", "1h", "8h", "24h"].map((d) => (
              <option key={d}>{d}</option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={busy}>
          Keep
        </button>
        <button type="button" disabled={busy} onClick={() => send(0)}>
          Take back
        </button>
      </form>
      <p class={`small ${said.value && !said.value.ok ? "bad" : "muted"}`} role="status">
        {said.value?.text ?? `Policies still decide above it, up to ${s.max}. It ends by itself.`}
      </p>
    </section>
  );
}
