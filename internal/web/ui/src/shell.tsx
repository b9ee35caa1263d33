// The frame around every page: where one is, how the connection is, and help.
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { setToken } from "./api";
import { DecisionsPage } from "./decisions";
import { GraphPage } from "./edges";
import { count } from "./format";
import { helpOpen, SHORTCUTS } from "./keys";
import { LogsPage } from "./logs";
import { href, PAGES, place } from "./route";
import { RoutesPage } from "./routes";
import { ServicePage } from "./service";
import { ServicesPage } from "./services";
import { dark, keysOn, nextTheme } from "./settings";
import { app, connect, connection, frame, services } from "./store";

const VIEWS: Record<string, () => JSX.Element> = {
  services: ServicesPage,
  graph: GraphPage,
  decisions: DecisionsPage,
  logs: LogsPage,
  routes: RoutesPage,
};

export function Shell() {
  const { page, name } = place.value;
  const View = VIEWS[page];
  const title = page === "service" ? name : (PAGES.find((p) => p.page === page)?.title ?? "");
  useEffect(() => {
    document.title = `${title} · ${app.value?.name || "Swell"}`;
  }, [title, app.value?.name]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          e.preventDefault(); // the hash is the page's address
          document.getElementById("main")?.focus();
        }}
      >
        Skip to the content
      </a>
      <Header page={page === "service" ? "services" : page} />
      <Trouble />
      <main id="main" tabIndex={-1}>
        {connection.value.state === "locked" ? (
          <Locked />
        ) : !frame.value ? (
          <Waiting />
        ) : page === "service" ? (
          <ServicePage key={name} name={name} />
        ) : View ? (
          <View />
        ) : null}
      </main>
      <Announcer />
      <Help />
    </>
  );
}

function Header({ page }: { page: string }) {
  return (
    <header class="top">
      <a class="brand" href="#/services" aria-label={`Swell: ${app.value?.name ?? ""}, all services`}>
        <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
          <rect width="32" height="32" rx="8" />
          <path d="M5 20c4 0 4-8 8-8s4 8 8 8 4-4 6-6" />
        </svg>
        <span class="app">{app.value?.name || "swell"}</span>
      </a>
      <nav aria-label="Pages">
        {PAGES.map((p) => (
          <a key={p.page} href={href(p.page)} aria-current={p.page === page ? "page" : undefined}>
            {p.title}
          </a>
        ))}
      </nav>
      <div class="tools">
        <Live />
        <button type="button" class="icon" onClick={nextTheme} aria-label={dark.value ? "Use light colours" : "Use dark colours"} title="Light or dark (t)">
          <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">
            {dark.value ? (
              <g>
                <circle cx="12" cy="12" r="4" />
                <path d="M12 3v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4" />
              </g>
            ) : (
              <path d="M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5Z" />
            )}
          </svg>
        </button>
        <button type="button" class="icon" onClick={() => (helpOpen.value = true)} aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)">
          <span aria-hidden="true">?</span>
        </button>
      </div>
    </header>
  );
}

function Live() {
  const c = connection.value;
  const words = { connecting: "connecting", live: "live", lost: "reconnecting", locked: "locked" }[c.state];
  return (
    <span class={`live ${c.state}`} title={"why" in c ? c.why : undefined} data-state={c.state}>
      <i class="dot" aria-hidden="true" />
      <span>{words}</span>
    </span>
  );
}

function Trouble() {
  const c = connection.value;
  const why = app.value?.trouble;
  return (
    <>
      {c.state === "lost" && frame.value && (
        <p class="banner warn">
          <b>The connection is lost.</b> What is shown is from before; it is tried again by itself.
        </p>
      )}
      {why && (
        <p class="banner bad" role="alert">
          <b>The plan could not be made true:</b> {why}
        </p>
      )}
    </>
  );
}

function Waiting() {
  const c = connection.value;
  return (
    <div class="center">
      <p class="muted">{c.state === "lost" ? `Swell does not answer (${c.why}). It is tried again by itself.` : "Asking Swell…"}</p>
    </div>
  );
}

function Locked() {
  const token = useSignal("");
  return (
    <form
      class="center card"
      onSubmit={(e) => {
        e.preventDefault();
        setToken(token.value.trim());
        connect();
      }}
    >
      <h1>This address asks for a token</h1>
      <p class="muted">It is the one that Swell was started with. It is kept until the tab is closed.</p>
      <label>
        Token
        <input type="password" autocomplete="current-password" value={token} onInput={(e) => (token.value = e.currentTarget.value)} />
      </label>
      <button type="submit" class="primary">
        Open
      </button>
    </form>
  );
}

// Announcer tells screen readers what changed, and no more often than can be heard.
function Announcer() {
  const said = useSignal("");
  const before = useRef(new Map<string, string>());
  const pending = useRef(new Map<string, string>());
  const state = useComputed(() => (connection.value.state === "lost" ? "The connection is lost." : ""));
  useSignalEffect(() => {
    for (const s of services.value) {
      if (s.status === "external") continue;
      const now = `${s.status} ${s.ready} ${s.desired}`;
      const old = before.current.get(s.name);
      before.current.set(s.name, now);
      if (old !== undefined && old !== now) {
        pending.current.set(s.name, `${s.name}: ${s.ready} of ${count(s.desired, "instance")} ready${s.status === "failing" ? ", failing" : ""}.`);
      }
    }
  });
  useEffect(() => {
    const t = setInterval(() => {
      if (!pending.current.size) return;
      said.value = [...pending.current.values()].slice(0, 4).join(" ");
      pending.current.clear();
    }, 5000);
    return () => clearInterval(t);
  }, []);
  return (
    <div class="hidden" role="status" aria-live="polite">
      {state} {said}
    </div>
  );
}

function Help() {
  const box = useRef<HTMLDialogElement>(null);
  useSignalEffect(() => {
    if (helpOpen.value) box.current?.showModal();
    else box.current?.close();
  });
  return (
    <dialog ref={box} class="help" aria-labelledby="help-title" onClose={() => (helpOpen.value = false)} onClick={(e) => e.target === box.current && (helpOpen.value = false)}>
      <h2 id="help-title">Keyboard shortcuts</h2>
      <dl>
        {SHORTCUTS.map(([key, what]) => (
          <div key={key}>
            <dt>
              {key.split("  ").map((k) => (
                <kbd key={k}>{k}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <label class="check">
        <input type="checkbox" checked={keysOn} onChange={(e) => (keysOn.value = e.currentTarget.checked)} />
        Single keys are shortcuts
      </label>
      <button type="button" class="primary" onClick={() => (helpOpen.value = false)}>
        Close
      </button>
    </dialog>
  );
}
