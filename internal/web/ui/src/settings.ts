// What this browser remembers: the theme, and whether single keys are shortcuts.
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

function kept<T extends string>(key: string, or: T): T {
  try {
    return (localStorage.getItem(key) as T | null) ?? or;
  } catch {
    return or; // storage is forbidden: nothing is remembered
  }
}

function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>(kept<Theme>("swell.theme", "auto"));
export const keysOn = signal(kept("swell.keys", "on") === "on");
// dark is what is shown; charts draw anew when it changes.
export const dark = signal(system.matches);

export function nextTheme(): void {
  theme.value = dark.value ? "light" : "dark";
}

effect(() => {
  keep("swell.keys", keysOn.value ? "on" : "off");
});

effect(() => {
  const t = theme.value;
  keep("swell.theme", t);
  if (t === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
  dark.value = t === "auto" ? system.matches : t === "dark";
});

system.addEventListener("change", () => {
  if (theme.value === "auto") dark.value = system.matches;
});
