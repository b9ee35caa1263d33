// What instances write: searched by the server, followed here.
import { batch, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { listen } from "./api";
import { count, fine } from "./format";
import { href, place } from "./route";
import { frame, services } from "./store";
import type { Line } from "./types";

const KEPT = 1500; // lines

export function LogsPage() {
  const q = place.value.query;
  const service = q.get("service") ?? "";
  const instance = q.get("instance") ?? "";
  const asked = useSignal(q.get("q") ?? ""); // what the server was asked for
  const typed = useSignal(asked.peek());
  const follow = useSignal(true);
  const wrap = useSignal(true);
  const lines = useSignal<Line[]>([]);
  const missed = useSignal(0); // came while not following
  const lost = useSignal("");
  const list = useRef<HTMLDivElement>(null);

  // What is typed is asked for once the typing rests.
  useSignalEffect(() => {
    const t = typed.value;
    const wait = setTimeout(() => (asked.value = t.trim()), 200);
    return () => clearTimeout(wait);
  });

  useEffect(() => {
    batch(() => {
      lines.value = [];
      missed.value = 0;
    });
    let came: Line[] = [];
    let timer = 0;
    const flush = () => {
      timer = 0;
      const more = came;
      came = [];
      batch(() => {
        if (!follow.peek()) missed.value += more.length;
        lines.value = [...lines.peek(), ...more].slice(-KEPT);
      });
    };
    const path = () => {
      const p = new URLSearchParams({ n: "500" });
      if (service) p.set("service", service);
      if (instance) p.set("instance", instance);
      if (asked.value) p.set("q", asked.value);
      const last = came.at(-1) ?? lines.peek().at(-1);
      if (last) p.set("since", String(last.seq));
      return `/api/v1/logs/stream?${p}`;
    };
    const stop = listen(path, {
      opened: () => (lost.value = ""),
      event: (data) => {
        came.push(...(JSON.parse(data) as Line[]));
        if (came.length > KEPT) came = came.slice(-KEPT);
        timer ||= window.setTimeout(flush, 120);
      },
      lost: (why) => (lost.value = why.message),
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [service, instance, asked.value]);

  useLayoutEffect(() => {
    if (follow.value && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [lines.value, follow.value, wrap.value]);

  const choose = (s: string, i: string) => (location.hash = href("logs", "", { service: s, instance: i, q: typed.value }));
  const instances = frame.value!.instances.filter((i) => i.service === service);
  return (
    <div class="logs">
      <div class="title">
        <h1>Logs</h1>
        <div class="toolbar" role="search">
          <label class="grow">
            <span class="hidden">Search the logs</span>
            <input
              type="search"
              data-key="search"
              placeholder="Search…  /"
              value={typed}
              onInput={(e) => (typed.value = e.currentTarget.value)}
              onKeyDown={(e) => e.key === "Escape" && (typed.value ? (typed.value = "") : e.currentTarget.blur())}
            />
          </label>
          <label>
            <span class="hidden">Service</span>
            <select value={service} onChange={(e) => choose(e.currentTarget.value, "")}>
              <option value="">all services</option>
              {services.value.map((s) => (
                <option key={s.name} value={s.name}>
                  {s.name}
                </option>
              ))}
            </select>
          </label>
          {service && (
            <label>
              <span class="hidden">Instance</span>
              <select value={instance} onChange={(e) => choose(service, e.currentTarget.value)}>
                <option value="">all instances</option>
                {[...new Set([...instances.map((i) => i.id), ...(instance ? [instance] : [])])].map((i) => (
                  <option key={i} value={i}>
                    {i}
                  </option>
                ))}
              </select>
            </label>
          )}
          <button type="button" aria-pressed={wrap.value} onClick={() => (wrap.value = !wrap.value)}>
            Wrap
          </button>
          <button
            type="button"
            data-key="follow"
            aria-pressed={follow.value}
            onClick={() => {
              follow.value = !follow.value;
              missed.value = 0;
            }}
          >
            Follow
          </button>
        </div>
      </div>
      {lost.value && <p class="banner warn">The logs can't be followed: {lost.value}</p>}
      <div
        class={`lines ${wrap.value ? "wrap" : ""}`}
        ref={list}
        role="log"
        aria-live="off"
        aria-label="Lines, oldest first"
        tabIndex={0}
        onScroll={(e) => {
          const el = e.currentTarget;
          const end = el.scrollHeight - el.scrollTop - el.clientHeight < 40;
          // Scrolling up stops following; the button, or reaching the end, begins anew.
          if (!end && follow.value && el.scrollTop < last.current - 4) follow.value = false;
          else if (end && !follow.value && el.scrollTop > last.current) {
            follow.value = true;
            missed.value = 0;
          }
          last.current = el.scrollTop;
        }}
      >
        {lines.value.map((l) => (
          <Row key={l.seq} l={l} q={asked.value} named={!instance} />
        ))}
        {!lines.value.length && <p class="empty">{asked.value || service ? "No line matches." : "Nothing was written yet."}</p>}
      </div>
      <div class="foot muted">
        <span>{count(lines.value.length, "line")}</span>
        {!follow.value && missed.value > 0 && (
          <button
            type="button"
            class="primary small"
            onClick={() => {
              follow.value = true;
              missed.value = 0;
            }}
          >
            {count(missed.value, "newer line")}
          </button>
        )}
      </div>
    </div>
  );
}

// last is where the list was scrolled to, to tell up from down.
const last = { current: 0 };

const LEVEL = /"?\b(?:level|severity|lvl)"?\s*[=:]\s*"?(\w+)|^\W*(?:\S+\s+){0,3}?\[?(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|PANIC)\b/i;

// level guesses how grave a line is from how it is written.
export function level(text: string): "error" | "warn" | "debug" | "" {
  const m = LEVEL.exec(text.slice(0, 300));
  const word = (m?.[1] ?? m?.[2] ?? "").toLowerCase();
  if (/^(err|error|fatal|crit|critical|panic)$/.test(word) || /^panic:/.test(text)) return "error";
  if (/^(warn|warning)$/.test(word)) return "warn";
  if (/^(debug|trace)$/.test(word)) return "debug";
  return "";
}

function Row({ l, q, named }: { l: Line; q: string; named: boolean }) {
  return (
    <div class={`line ${l.stream} ${level(l.text)}`}>
      <time dateTime={l.at}>{fine(l.at)}</time>
      {named && (
        <a class={`src h${hue(l.service)}`} href={href("logs", "", { service: l.service, instance: l.instance })}>
          {l.instance || l.service}
        </a>
      )}
      <span class="text">{marked(l.text, q)}</span>
    </div>
  );
}

// hue is one of six, always the same for a name.
function hue(name: string): number {
  let h = 0;
  for (let i = 0; i < name.length; i++) h = (h * 31 + name.charCodeAt(i)) >>> 0;
  return h % 6;
}

function marked(text: string, q: string) {
  if (!q) return text;
  const low = text.toLowerCase();
  const want = q.toLowerCase();
  const out = [];
  let from = 0;
  for (let i = low.indexOf(want); i >= 0 && out.length < 200; i = low.indexOf(want, from)) {
    out.push(text.slice(from, i), <mark key={i}>{text.slice(i, i + want.length)}</mark>);
    from = i + want.length;
  }
  out.push(text.slice(from));
  return out;
}
