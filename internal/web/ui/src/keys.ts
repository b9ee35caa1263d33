// The keyboard: single keys, which people can switch off, and nothing that only
// the keyboard or only the mouse can do.
import { signal } from "@preact/signals";
import { href, PAGES } from "./route";
import { keysOn, nextTheme } from "./settings";

export const helpOpen = signal(false);

export const SHORTCUTS: [string, string][] = [
  ...PAGES.map((p): [string, string] => [p.key, p.title]),
  ["/", "Search the logs"],
  ["f", "Follow the logs, or stop"],
  ["j  k", "Next, previous row"],
  ["t", "Light or dark"],
  ["?", "This help"],
];

function typing(e: KeyboardEvent): boolean {
  const t = e.target as HTMLElement;
  return t.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(t.tagName);
}

export function keys(): void {
  document.addEventListener("keydown", (e) => {
    if (!keysOn.value || typing(e) || e.ctrlKey || e.metaKey || e.altKey || helpOpen.value) return;
    const page = PAGES.find((p) => p.key === e.key);
    if (page) location.hash = href(page.page);
    else if (e.key === "t") nextTheme();
    else if (e.key === "?") helpOpen.value = true;
    else if (e.key === "/") search();
    else if (e.key === "f") document.querySelector<HTMLElement>("[data-key=follow]")?.click();
    else if (e.key === "j" || e.key === "k") row(e.key === "j" ? 1 : -1);
    else return;
    e.preventDefault();
  });
}

function search(): void {
  const box = () => document.querySelector<HTMLInputElement>("[data-key=search]");
  if (!box()) location.hash = href("logs");
  // The page is there a few paints later.
  const look = (tries: number) => {
    const found = box();
    if (found) found.focus();
    else if (tries) requestAnimationFrame(() => look(tries - 1));
  };
  look(120);
}

function row(step: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement as HTMLElement);
  rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))]?.focus();
}
