// The gateway's routes, in the order in which they are tried, and which of them a
// request would take.
import { useSignal } from "@preact/signals";
import { get } from "./api";
import { latency, rate, share } from "./format";
import { Empty, errorClass, Scroll, ServiceLink } from "./parts";
import { app, frame } from "./store";
import type { Route, RouteMatch } from "./types";

export function RoutesPage() {
  const routes = frame.value!.routes;
  const taken = useSignal("");
  return (
    <>
      <h1>Routes</h1>
      <section class="card" aria-labelledby="try-title">
        <h2 id="try-title">Which route would a request take?</h2>
        <Try taken={(name) => (taken.value = name)} />
      </section>
      <section class="card flush" aria-labelledby="routes-title">
        <div class="head">
          <h2 id="routes-title">In the order in which they are tried</h2>
          {app.value?.listen && <span class="muted">gateway {app.value.listen}</span>}
        </div>
        {!routes.length ? (
          <Empty>The manifest has no route.</Empty>
        ) : (
          <Scroll label="Routes, a table">
            <table>
              <thead>
                <tr>
                  <th scope="col">Match</th>
                  <th scope="col">To</th>
                  <th scope="col">Filters</th>
                  <th scope="col" class="num">Rate</th>
                  <th scope="col" class="num">Errors</th>
                  <th scope="col" class="num">p50</th>
                  <th scope="col" class="num">p95</th>
                  <th scope="col" class="num">p99</th>
                </tr>
              </thead>
              <tbody>
                {routes.map((r) => (
                  <Row key={r.name} r={r} taken={r.name === taken.value} />
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </section>
    </>
  );
}

function Row({ r, taken }: { r: Route; taken: boolean }) {
  return (
    <tr class={taken ? "taken" : ""}>
      <th scope="row" class="mono">
        {r.match}
      </th>
      <td>
        {r.redirect && <span>redirect {r.redirect}</span>}
        {r.to.map((t, i) => (
          <span key={t.service}>
            {i > 0 && ", "}
            <ServiceLink name={t.service} />
            {r.to.length > 1 && <span class="muted"> {(t.share * 100).toFixed(0)} %</span>}
          </span>
        ))}
        {r.rewrite && <span class="muted"> as {r.rewrite}</span>}
      </td>
      <td>
        {r.use.map((u) => (
          <span key={u} class="tag">
            {u}
          </span>
        ))}
      </td>
      <td class="num strong">{rate(r.rate)}</td>
      <td class={`num ${errorClass(r.errors, r.rate)}`}>{share(r.errors, r.rate)}</td>
      <td class="num">{latency(r.p50)}</td>
      <td class="num">{latency(r.p95)}</td>
      <td class="num">{latency(r.p99)}</td>
    </tr>
  );
}

function Try({ taken }: { taken: (route: string) => void }) {
  const method = useSignal("GET");
  const url = useSignal("");
  const said = useSignal("");
  const ask = async () => {
    taken("");
    try {
      const q = new URLSearchParams({ method: method.value, url: url.value.trim() });
      const m = await get<RouteMatch>(`/api/v1/routes?${q}`);
      said.value = m.route ? `${m.method} ${m.url} takes ${m.route.match} to ${m.route.redirect || m.route.to.map((t) => t.service).join(", ")}.` : `No route takes ${m.method} ${m.url}: it would be answered with 404.`;
      taken(m.route?.name ?? "");
    } catch (e) {
      said.value = (e as Error).message;
    }
  };
  return (
    <form
      class="try"
      onSubmit={(e) => {
        e.preventDefault();
        ask();
      }}
    >
      <label>
        <span class="hidden">Method</span>
        <select value={method} onChange={(e) => (method.value = e.currentTarget.value)}>
          {["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map((m) => (
            <option key={m}>{m}</option>
          ))}
        </select>
      </label>
      <label class="grow">
        <span class="hidden">URL or path</span>
        <input type="text" required placeholder="/api/catalog/items or http://shop.example/…" value={url} onInput={(e) => (url.value = e.currentTarget.value)} />
      </label>
      <button type="submit" class="primary">
        Ask
      </button>
      <p class="said" role="status">
        {said}
      </p>
    </form>
  );
}
