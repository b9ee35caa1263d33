// Asking the server: plain requests, and event streams that come back by themselves.

const TOKEN = "swell.token";

export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

function headers(more?: HeadersInit): Headers {
  const h = new Headers(more);
  const token = sessionStorage.getItem(TOKEN);
  if (token) h.set("Authorization", `Bearer ${token}`);
  return h;
}

// setToken keeps the token for as long as the tab is open.
export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

async function refusal(r: Response): Promise<Refused> {
  try {
    const body = await r.json();
    if (body?.error?.message) return new Refused(r.status, body.error.message);
  } catch {
    // Not ours: the status must do.
  }
  return new Refused(r.status, `the server answered ${r.status}`);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const r = await fetch(path, { headers: headers(), signal: signal ?? null });
  if (!r.ok) throw await refusal(r);
  return r.json();
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const r = await fetch(path, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
  });
  if (!r.ok) throw await refusal(r);
  return r.json();
}

export interface Listener {
  opened?(): void;
  event(data: string): void;
  // lost tells why a stream ended, and in how many seconds it is tried again.
  lost?(why: Error, again: number): void;
}

// listen reads an event stream until the function that it returns is called.
// EventSource can't send a token, so this is fetch, with the same reconnecting:
// after a second, then after ever longer, ten at most.
export function listen(path: () => string, to: Listener): () => void {
  const end = new AbortController();
  let wait = 1;
  (async () => {
    while (!end.signal.aborted) {
      try {
        const r = await fetch(path(), { headers: headers({ Accept: "text/event-stream" }), signal: end.signal });
        if (!r.ok || !r.body) throw await refusal(r);
        to.opened?.();
        wait = 1;
        await read(r.body, to);
        throw new Error("the server ended the stream");
      } catch (e) {
        if (end.signal.aborted) return;
        to.lost?.(e as Error, wait);
        await new Promise<void>((done) => {
          const t = setTimeout(done, wait * 1000);
          end.signal.addEventListener("abort", () => (clearTimeout(t), done()), { once: true });
          window.addEventListener("online", () => (clearTimeout(t), done()), { once: true });
        });
        wait = Math.min(10, wait * 2);
      }
    }
  })();
  return () => end.abort();
}

async function read(body: ReadableStream<Uint8Array>, to: Listener): Promise<void> {
  const from = body.getReader();
  const text = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await from.read();
    if (done) return;
    rest += text.decode(value, { stream: true });
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const data = rest
        .slice(0, end)
        .split("\n")
        .filter((l) => l.startsWith("data:"))
        .map((l) => l.slice(5).trimStart());
      rest = rest.slice(end + 2);
      if (data.length) to.event(data.join("\n"));
    }
  }
}
