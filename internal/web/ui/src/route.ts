// Where the page is: the hash, so that every place has an address.
import { signal } from "@preact/signals";

export interface Place {
  page: string; // "services", "service", "graph", "decisions", "logs", "routes"
  name: string; // of the service
  query: URLSearchParams;
}

export const PAGES = [
  { page: "services", title: "Services", key: "1" },
  { page: "graph", title: "Graph", key: "2" },
  { page: "decisions", title: "Decisions", key: "3" },
  { page: "logs", title: "Logs", key: "4" },
  { page: "routes", title: "Routes", key: "5" },
] as const;

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page = "", name = ""] = path.split("/");
  const q = new URLSearchParams(query);
  if (page === "services" && name) return { page: "service", name: decode(name), query: q };
  return { page: PAGES.some((p) => p.page === page) ? page : "services", name: "", query: q };
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

export const place = signal(read());

export function href(page: string, name = "", query: Record<string, string> = {}): string {
  const q = new URLSearchParams(Object.entries(query).filter(([, v]) => v)).toString();
  return `#/${page}${name ? "/" + encodeURIComponent(name) : ""}${q ? "?" + q : ""}`;
}

export const serviceHref = (name: string) => href("services", name);

window.addEventListener("hashchange", () => {
  const before = place.value;
  place.value = read();
  if (before.page === place.value.page && before.name === place.value.name) return;
  // A new page begins at its top, for eyes and for the keyboard.
  window.scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
});
