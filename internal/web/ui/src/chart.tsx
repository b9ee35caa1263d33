// A chart of the last minutes: uPlot draws it, figures beside its title say the
// newest values (or those under the pointer), and a sentence says it all to who
// does not see it.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clock } from "./format";
import { dark } from "./settings";

export interface Series {
  name: string;
  color: string; // a custom property's name: "--c1"
  fill?: boolean;
  dash?: boolean;
  step?: boolean;
  values: (number | null)[];
}

export interface ChartProps {
  title: string;
  unit: string;
  times: number[]; // seconds since 1970, one for each value
  series: Series[];
  window: number; // seconds that are shown
  format: (v: number) => string;
  limit?: { name: string; value: number }; // a goal, drawn across
  least?: number; // the axis reaches at least this far
}

const sync = uPlot.sync("swell");

// css is a colour of the style sheet as the canvas understands it: only a real
// property's value is computed for the scheme that holds.
function css(el: HTMLElement, name: string): string {
  el.style.color = `var(${name})`;
  const color = getComputedStyle(el).color;
  el.style.color = "";
  return color;
}

export function Chart(p: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(p);
  latest.current = p;
  const at = useSignal<number | null>(null);
  const shape = p.series.map((s) => s.name).join() + (p.limit?.name ?? "");

  useEffect(() => {
    const el = box.current!;
    const u = new uPlot(options(latest, el, (i) => (at.value = i)), data(latest.current), el);
    plot.current = u;
    // The canvas says nothing by itself: the figure's label does.
    for (const c of el.querySelectorAll("canvas")) c.setAttribute("aria-hidden", "true");
    const watch = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height: el.clientHeight }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape, dark.value]);

  useEffect(() => {
    plot.current?.setData(data(p));
  });

  const i = at.value ?? p.times.length - 1;
  return (
    <figure class="chart" aria-label={sentence(p)}>
      <figcaption>
        <span class="title">{p.title}</span>
        <span class="at muted">{at.value !== null && p.times[i] ? clock(p.times[i] * 1000) : p.unit}</span>
        <span class="legend">
          {p.series.map((s) => (
            <span key={s.name} class="key">
              <i class={s.dash ? "dashed" : ""} style={{ color: `var(${s.color})` }} aria-hidden="true" />
              {s.name} <b>{s.values[i] == null ? "–" : p.format(s.values[i] as number)}</b>
            </span>
          ))}
          {p.limit && (
            <span class="key">
              <i class="dashed" style={{ color: "var(--limit)" }} aria-hidden="true" />
              {p.limit.name} <b>{p.format(p.limit.value)}</b>
            </span>
          )}
        </span>
      </figcaption>
      <div class="plot" ref={box} aria-hidden="true" />
    </figure>
  );
}

function data(p: ChartProps): uPlot.AlignedData {
  const all: (number[] | (number | null)[])[] = [p.times, ...p.series.map((s) => s.values)];
  if (p.limit) all.push(p.times.map(() => p.limit!.value));
  return all as uPlot.AlignedData;
}

function options(latest: { current: ChartProps }, el: HTMLElement, over: (i: number | null) => void): uPlot.Options {
  const p = latest.current;
  const axis: uPlot.Axis = {
    stroke: css(el, "--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: css(el, "--grid"), width: 1 },
    ticks: { show: false },
    gap: 4,
  };
  const series: uPlot.Series[] = p.series.map((s) => ({
    label: s.name,
    stroke: css(el, s.color),
    width: 1.75,
    dash: s.dash ? [5, 4] : undefined,
    fill: s.fill ? fade(css(el, s.color)) : undefined,
    paths: s.step ? uPlot.paths.stepped!({ align: 1 }) : undefined,
    points: { show: false },
  }));
  if (p.limit) series.push({ label: p.limit.name, stroke: css(el, "--limit"), width: 1.25, dash: [2, 4], points: { show: false } });
  return {
    width: el.clientWidth,
    height: el.clientHeight,
    padding: [10, 20, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: sync.key, setSeries: false }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
    scales: {
      x: {
        time: true,
        range: () => {
          const { times, window } = latest.current;
          const end = times.at(-1) ?? Date.now() / 1000;
          return [end - window, end];
        },
      },
      y: {
        range: (_, __, max) => {
          // Room above, and a round number on top, so that the axis rests.
          const top = Math.max(max ?? 0, latest.current.limit ? latest.current.limit.value * 1.15 : 0, latest.current.least ?? 0);
          return [0, top > 0 ? top * 1.12 : 1];
        },
      },
    },
    axes: [
      { ...axis, size: 22, space: 70, values: (_, ts) => ts.map((t) => clock(t * 1000).slice(0, t % 60 === 0 ? 5 : 8)) },
      { ...axis, size: 52, space: 32, values: (_, vs) => vs.map((v) => (v === 0 ? "0" : latest.current.format(v))) },
    ],
    series: [{}, ...series],
    hooks: { setCursor: [(u) => over(u.cursor.idx ?? null)] },
  };
}

function fade(color: string): string {
  return `color-mix(in srgb, ${color} 14%, transparent)`;
}

// sentence is the chart in words.
function sentence(p: ChartProps): string {
  const minutes = Math.round(p.window / 60);
  const parts = p.series.map((s) => {
    const seen = s.values.slice(-p.window).filter((v): v is number => v !== null);
    if (!seen.length) return `${s.name}: nothing yet`;
    const f = p.format;
    return `${s.name} now ${f(seen.at(-1)!)}, between ${f(Math.min(...seen))} and ${f(Math.max(...seen))}`;
  });
  return `${p.title}, ${p.unit}, the last ${minutes} minutes. ${parts.join("; ")}.`;
}
