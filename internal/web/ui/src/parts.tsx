// Small things that several pages show.
import type { ComponentChildren } from "preact";
import { serviceHref } from "./route";
import type { Service, Status } from "./types";

const WORDS: Record<Status, string> = {
  ok: "OK",
  scaling: "Scaling",
  starting: "Starting",
  failing: "Failing",
  idle: "Idle",
  external: "External",
};

export function StatusBadge({ status }: { status: Status }) {
  return (
    <span class={`badge ${status}`}>
      <i class="dot" aria-hidden="true" />
      {WORDS[status]}
    </span>
  );
}

export function ServiceLink({ name, row }: { name: string; row?: boolean }) {
  return (
    <a href={serviceHref(name)} data-row={row}>
      {name}
    </a>
  );
}

const PIPS = 12;

// Pips shows instances as little squares: ready, on their way, and missing. With
// more than fit it is a bar.
export function Pips({ s }: { s: Service }) {
  const all = Math.max(s.desired, s.ready + s.starting);
  if (all > PIPS) {
    const pct = (n: number) => ({ width: `${(100 * n) / all}%` });
    return (
      <span class="pips bar" aria-hidden="true">
        <i class="ready" style={pct(s.ready)} />
        <i class="starting" style={pct(s.starting)} />
      </span>
    );
  }
  return (
    <span class="pips" aria-hidden="true">
      {Array.from({ length: all }, (_, i) => (
        <i key={i} class={i < s.ready ? "ready" : i < s.ready + s.starting ? "starting" : ""} />
      ))}
    </span>
  );
}

// Spark is a line of the last values, to be seen beside the newest in figures.
export function Spark({ values, width = 96, height = 22 }: { values: number[]; width?: number; height?: number }) {
  if (values.length < 2) return <svg class="spark" width={width} height={height} aria-hidden="true" />;
  const top = Math.max(...values, 1e-9);
  const x = (i: number) => width - ((values.length - 1 - i) * width) / 119;
  const y = (v: number) => height - 1.5 - (v / top) * (height - 3);
  const line = values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join("L");
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <path class="area" d={`M${x(0).toFixed(1)},${height}L${line}L${width},${height}Z`} />
      <path class="line" d={`M${line}`} />
    </svg>
  );
}

// Scroll lets a wide table move sideways, by keyboard too.
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

// hot says which colour a latency or an error share deserves.
export function hot(value: number, limit: number): string {
  if (limit <= 0 || value <= limit * 0.9) return "";
  return value > limit ? "bad" : "warn";
}

export function errorClass(errors: number, rate: number): string {
  if (errors <= 0 || rate <= 0) return "faint";
  return errors / rate > 0.01 ? "bad" : "warn";
}
