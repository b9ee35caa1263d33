// The cart: what each user wants to buy, in memory. Node alone, no package.
//
// PORT and HOST say where it listens. --work 2ms is what a request waits for, as
// on a disk; --startup 300ms is the time until it is ready.
'use strict';

const http = require('node:http');

const options = { work: 2, startup: 300 }; // milliseconds
for (let i = 2; i < process.argv.length; i++) {
  const [name, inline] = process.argv[i].replace(/^--?/, '').split('=');
  const text = inline ?? process.argv[++i] ?? '';
  const match = /^([0-9.]+)(us|ms|s)$/.exec(text);
  if (!(name in options) || !match) {
    console.error(`usage: server.js [--work 2ms] [--startup 300ms]; ${process.argv[i]} is neither`);
    process.exit(64);
  }
  options[name] = Number(match[1]) * { us: 0.001, ms: 1, s: 1000 }[match[2]];
}

const MAX_CARTS = 10000; // beyond them the one that was changed longest ago is dropped
const MAX_ITEMS = 100; // different products in a cart
const MAX_BODY = 4096; // bytes

const carts = new Map(); // user -> Map of product -> quantity; least recently changed first
let ready = false;
let stopping = false;
const served = { requests: 0, failed: 0 };

function log(level, msg, more) {
  process.stdout.write(JSON.stringify({ time: new Date().toISOString(), level, msg, service: 'cart', ...more }) + '\n');
}

function send(res, status, value) {
  const body = JSON.stringify(value) + '\n';
  const head = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
  if (stopping) head.Connection = 'close';
  res.writeHead(status, head);
  res.end(body);
  served.requests++;
  if (status >= 500) served.failed++;
}

function view(user) {
  const items = [...(carts.get(user) ?? [])].map(([id, quantity]) => ({ id, quantity }));
  return { user, items, count: items.reduce((n, item) => n + item.quantity, 0) };
}

function add(user, item) {
  const { id, quantity = 1 } = item ?? {};
  if (typeof id !== 'string' || id === '' || id.length > 100) return 'id is the name of a product';
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 1000) return 'quantity is a number from 1 to 1000';
  const cart = carts.get(user) ?? new Map();
  if (!cart.has(id) && cart.size >= MAX_ITEMS) return `a cart holds ${MAX_ITEMS} different products`;
  cart.set(id, Math.min((cart.get(id) ?? 0) + quantity, 1000));
  carts.delete(user); // to the end of the order
  carts.set(user, cart);
  if (carts.size > MAX_CARTS) carts.delete(carts.keys().next().value);
  return null;
}

// body reads a request's JSON and calls done with it, or answers that it can't.
function body(req, res, done) {
  const parts = [];
  let size = 0;
  req.on('data', (part) => {
    size += part.length;
    if (size <= MAX_BODY) parts.push(part);
  });
  req.on('end', () => {
    if (size > MAX_BODY) return send(res, 413, { error: `a body has at most ${MAX_BODY} bytes` });
    let value;
    try {
      value = JSON.parse(Buffer.concat(parts).toString('utf8'));
    } catch {
      return send(res, 400, { error: 'the body is not JSON' });
    }
    done(value);
  });
}

function handle(req, res) {
  const path = req.url.split('?')[0];
  if (path === '/healthz') {
    res.writeHead(ready ? 200 : 503, { 'Content-Type': 'text/plain' });
    return res.end(ready ? 'ok\n' : 'not ready\n');
  }
  const match = /^\/carts\/([^/]{1,300})(\/items)?$/.exec(path);
  let user;
  try {
    user = match && decodeURIComponent(match[1]);
  } catch {
    user = null;
  }
  if (!user) return send(res, 404, { error: `nothing is at ${path}` });
  const items = match[2] !== undefined;
  if (req.method === 'GET' && !items) {
    return setTimeout(() => send(res, 200, view(user)), options.work);
  }
  if (req.method === 'DELETE' && !items) {
    carts.delete(user);
    return setTimeout(() => send(res, 200, view(user)), options.work);
  }
  if (req.method === 'POST' && items) {
    return body(req, res, (item) => {
      const wrong = add(user, item);
      if (wrong) return send(res, 400, { error: wrong });
      log('INFO', 'item added', { user, id: item.id, traceparent: req.headers.traceparent });
      setTimeout(() => send(res, 201, view(user)), options.work);
    });
  }
  res.setHeader('Allow', items ? 'POST' : 'GET, DELETE');
  send(res, 405, { error: `${req.method} is not for ${path}` });
}

const server = http.createServer(handle);
// Longer than any proxy keeps an idle connection, so that no request meets a
// connection being closed.
server.keepAliveTimeout = 300_000;

const port = Number(process.env.PORT);
if (!Number.isInteger(port) || port < 0) {
  log('ERROR', 'PORT is not set; it says where to listen, as in PORT=8080');
  process.exit(1);
}
server.on('error', (err) => {
  log('ERROR', 'ended', { error: err.message });
  process.exit(1);
});
server.listen(port, process.env.HOST || '127.0.0.1', () => {
  const { address, port: bound } = server.address();
  log('INFO', 'listening', { addr: `${address}:${bound}` });
  setTimeout(() => {
    ready = !stopping;
    log('INFO', 'ready');
  }, options.startup);
});

function account() {
  if (served.requests > 0) log('INFO', 'served', { ...served, carts: carts.size });
  served.requests = served.failed = 0;
}
setInterval(account, 10_000).unref();

function stop() {
  if (stopping) return;
  stopping = true;
  ready = false;
  log('INFO', 'stopping');
  server.close(() => {
    account();
    log('INFO', 'stopped');
    process.exit(0);
  });
  server.closeIdleConnections();
  setTimeout(() => process.exit(1), 20_000).unref();
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
