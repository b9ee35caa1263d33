// Parts of the page whose libraries are loaded when they are first shown.
import { signal } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { useEffect } from "preact/hooks";

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>, hold: string): (p: P) => JSX.Element {
  const loaded = signal<{ it: ComponentType<P> } | { error: string } | null>(null);
  let asked = false;
  return function Lazy(p: P) {
    useEffect(() => {
      if (asked) return;
      asked = true;
      load().then(
        (it) => (loaded.value = { it }),
        (e) => {
          asked = false;
          loaded.value = { error: (e as Error).message };
        },
      );
    }, []);
    const l = loaded.value;
    if (!l) return <div class={`hold ${hold}`} aria-busy="true" />;
    if ("error" in l) return <p class="empty">This part could not be loaded ({l.error}). Reload the page.</p>;
    return <l.it {...p} />;
  };
}
