// Edges: who calls whom, as a drawing and as a table.
import { latency, rate, share } from "./format";
import { lazy } from "./lazy";
import { Empty, errorClass, Scroll, ServiceLink } from "./parts";
import { frame } from "./store";
import type { Edge } from "./types";

export const Graph = lazy<{ large?: boolean }>(() => import("./graph").then((m) => m.Graph), "graph");

export function GraphPage() {
  return (
    <>
      <h1>Graph</h1>
      <section class="card" aria-label="The service graph">
        <Graph large />
      </section>
      <section class="card flush" aria-labelledby="all-edges">
        <div class="head">
          <h2 id="all-edges">Every edge</h2>
        </div>
        <Scroll label="Every edge, a table">
          <EdgeTable edges={frame.value?.edges ?? []} />
        </Scroll>
      </section>
    </>
  );
}

export function EdgeTable({ edges }: { edges: Edge[] }) {
  const end = (n: string) => (n === "gateway" ? <span class="muted">gateway</span> : <ServiceLink name={n} />);
  if (!edges.length) return <Empty>Nobody calls it, and it calls nobody.</Empty>;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Caller → callee</th>
          <th scope="col" class="num">Rate</th>
          <th scope="col" class="num">Errors</th>
          <th scope="col" class="num">p50</th>
          <th scope="col" class="num">p95</th>
          <th scope="col" class="num">p99</th>
        </tr>
      </thead>
      <tbody>
        {edges.map((e) => (
          <tr key={e.caller + ">" + e.callee}>
            <th scope="row" class="ends">
              {end(e.caller)} <span class="faint">→</span> {end(e.callee)} {!e.declared && <span class="tag warn">undeclared</span>}
            </th>
            <td class="num">{rate(e.rate)}</td>
            <td class={`num ${errorClass(e.errors, e.rate)}`}>{share(e.errors, e.rate)}</td>
            <td class="num">{latency(e.p50)}</td>
            <td class="num">{latency(e.p95)}</td>
            <td class="num">{latency(e.p99)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
