// Numbers and times for people: short, and of one width where they change.

export const NONE = "–";

export function rate(v: number): string {
  if (v === 0) return "0";
  if (v < 0.1) return "<0.1";
  if (v < 10) return v.toFixed(1);
  if (v < 1000) return v.toFixed(0);
  if (v < 10_000) return (v / 1000).toFixed(2) + "k";
  if (v < 1_000_000) return (v / 1000).toFixed(1) + "k";
  return (v / 1_000_000).toFixed(2) + "M";
}

// latency takes seconds; 0 is none.
export function latency(s: number): string {
  if (s <= 0) return NONE;
  if (s < 0.001) return (s * 1e6).toFixed(0) + " µs";
  if (s < 0.01) return (s * 1e3).toFixed(1) + " ms";
  if (s < 1) return (s * 1e3).toFixed(0) + " ms";
  if (s < 10) return s.toFixed(2) + " s";
  return s.toFixed(1) + " s";
}

// share is errors among requests.
export function share(errors: number, of: number): string {
  if (of <= 0 || errors <= 0) return "0 %";
  const p = (100 * errors) / of;
  if (p < 0.1) return "<0.1 %";
  return (p < 10 ? p.toFixed(1) : p.toFixed(0)) + " %";
}

export function bytes(v: number): string {
  if (v <= 0) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (v >= 1024 && i < units.length - 1) {
    v /= 1024;
    i++;
  }
  return (v < 10 && i > 0 ? v.toFixed(1) : v.toFixed(0)) + " " + units[i];
}

export function count(n: number, one: string, many = one + "s"): string {
  return `${n} ${n === 1 ? one : many}`;
}

// clock is the time of day.
export function clock(at: string | number): string {
  return new Date(at).toLocaleTimeString("en-GB", { hour12: false });
}

// fine is the time of day with milliseconds.
export function fine(at: string): string {
  const d = new Date(at);
  return clock(d.getTime()) + "." + String(d.getMilliseconds()).padStart(3, "0");
}

// age is how long ago something was, in its largest two units.
export function age(at: string, now: string): string {
  const s = Math.max(0, Math.round((Date.parse(now) - Date.parse(at)) / 1000));
  if (!Number.isFinite(s)) return NONE;
  if (s < 60) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return m < 10 ? `${m}m ${s % 60}s` : `${m}m`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h}h ${m % 60}m`;
  return `${Math.floor(h / 24)}d ${h % 24}h`;
}
