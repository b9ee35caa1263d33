// What the page knows: one signal for each thing, written here alone.
import { batch, computed, signal } from "@preact/signals";
import { listen, Refused } from "./api";
import type { Decision, Frame } from "./types";

export type Connection = { state: "connecting" | "live" } | { state: "lost" | "locked"; why: string };

export const frame = signal<Frame | null>(null);
export const connection = signal<Connection>({ state: "connecting" });
export const decisions = signal<Decision[]>([]);
// sparks are the rates of each service over the last two minutes.
export const sparks = signal<Record<string, number[]>>({});
// streams counts the connections: what was missed between two must be asked for.
export const streams = signal(0);

export const services = computed(() => frame.value?.services ?? []);
export const app = computed(() => frame.value?.app ?? null);

const SPARK = 120;

let stop: (() => void) | undefined;

// connect begins to follow the server's state, anew if it was before.
export function connect(): void {
  stop?.();
  let first = true;
  stop = listen(() => "/api/v1/stream", {
    opened() {
      first = true;
    },
    event(data) {
      take(JSON.parse(data), first);
      first = false;
    },
    lost(why) {
      const locked = why instanceof Refused && why.status === 401;
      connection.value = { state: locked ? "locked" : "lost", why: why.message };
    },
  });
}

function take(f: Frame, first: boolean): void {
  batch(() => {
    frame.value = f;
    if (connection.value.state !== "live") connection.value = { state: "live" };
    if (f.decisions) decisions.value = f.decisions;
    if (first) streams.value++;
    if (first || f.tick) {
      const next: Record<string, number[]> = {};
      for (const s of f.services) {
        next[s.name] = first ? (s.spark ?? []) : [...(sparks.peek()[s.name] ?? []), f.points?.[s.name]?.rate ?? s.rate].slice(-SPARK);
      }
      sparks.value = next;
    }
  });
}
