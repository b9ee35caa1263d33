// A client of the WebSocket suite, on npm's ws: one case after the other against the
// URL that it is given. It prints a line for each case and ends with 1 if one failed.
import { createRequire } from "node:module";
import { randomBytes } from "node:crypto";
const { WebSocket } = createRequire(process.env.SUITE + "/")("ws");
const url = process.argv[2];

function open(options = {}, protocols = ["echo"]) {
  return new Promise((ok, no) => {
    const ws = new WebSocket(url, protocols, { maxPayload: 64 << 20, ...options });
    ws.once("error", no);
    ws.once("open", () => ok(ws));
  });
}
const next = (ws, event = "message") => new Promise((ok, no) => {
  ws.once(event, (...v) => ok(v));
  ws.once("error", no);
});
const equal = (got, want) => {
  if (Buffer.compare(Buffer.from(got), Buffer.from(want)) !== 0) throw new Error(`got ${got.length} bytes, want ${want.length}`);
};

const cases = {
  async text(ws) { ws.send("żółw"); const [d, binary] = await next(ws); equal(d, "żółw"); if (binary) throw new Error("not text"); },
  async "empty messages"(ws) { ws.send(""); equal((await next(ws))[0], ""); ws.send(Buffer.alloc(0)); const [d, binary] = await next(ws); equal(d, ""); if (!binary) throw new Error("not binary"); },
  async "16 MiB in one frame"(ws) { const b = randomBytes(16 << 20); ws.send(b); equal((await next(ws))[0], b); },
  async "every boundary of lengths"(ws) { for (const n of [1, 125, 126, 127, 65535, 65536, 65537]) { const b = randomBytes(n); ws.send(b); equal((await next(ws))[0], b); } },
  async fragments(ws) { const parts = Array.from({ length: 50 }, (_, i) => randomBytes(i * 37)); parts.forEach((p, i) => ws.send(p, { binary: true, fin: i === parts.length - 1 })); equal((await next(ws))[0], Buffer.concat(parts)); },
  async "a ping between fragments"(ws) { ws.send("a", { fin: false }); const pong = next(ws, "pong"); ws.ping("between"); equal((await pong)[0], "between"); ws.send("b", { fin: true }); equal((await next(ws))[0], "ab"); },
  async "a ping from the server"(ws) { const ping = next(ws, "ping"); const echo = next(ws); ws.send("do:ping"); await ping; await echo; },
  async "many at once"(ws) { const got = []; const all = new Promise((ok) => ws.on("message", (d) => { got.push(String(d)); if (got.length === 1000) ok(); })); for (let i = 0; i < 1000; i++) ws.send(String(i)); await all; if (got.some((v, i) => v !== String(i))) throw new Error("out of order"); },
  async "closed by the client"(ws) { const closed = next(ws, "close"); ws.close(3001, "done"); const [code] = await closed; if (code !== 3001) throw new Error(`code ${code}`); },
  async "closed by the server"(ws) { const closed = next(ws, "close"); ws.send("do:close"); const [code, why] = await closed; if (code !== 4002 || String(why) !== "enough") throw new Error(`code ${code} ${why}`); },
  async "cut by the server"(ws) { const closed = next(ws, "close"); ws.send("do:cut"); const [code] = await closed; if (code !== 1006) throw new Error(`code ${code}`); },
};

let failed = 0;
for (const [mode, options] of [["plain", { perMessageDeflate: false }], ["deflate", { perMessageDeflate: { threshold: 0 } }]]) {
  for (const [name, run] of Object.entries(cases)) {
    try {
      const ws = await open(options);
      if (ws.protocol !== "echo") throw new Error(`subprotocol ${ws.protocol}`);
      if ((mode === "deflate") !== (ws.extensions.includes("permessage-deflate"))) throw new Error(`extensions ${ws.extensions}`);
      let late;
      await Promise.race([run(ws), new Promise((_, no) => { late = setTimeout(() => no(new Error("no end")), 30_000); })]);
      clearTimeout(late);
      ws.terminate();
      console.log(`ok ${mode} ${name}`);
    } catch (e) {
      failed++;
      console.log(`failed ${mode} ${name}: ${e.message}`);
    }
  }
}
process.exit(failed ? 1 : 0);
