import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The page of `rowcast dev`: connects as a client would, and lists what arrives. */
export class PageServer {
  readonly #port: number;
  readonly #server;
  url = '';

  constructor(options: { port: number; websocketUrl: string }) {
    this.#port = options.port;
    this.#server = createServer((request, response) => {
      if (request.url?.split('?')[0] !== '/') {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      response.end(PAGE.replace('"WEBSOCKET_URL"', JSON.stringify(options.websocketUrl)));
    });
  }

  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rowcast</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  header { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; }
  h1 { font-size: 1.3rem; margin: 0; }
  #status::before { content: "●"; margin-right: .4em; color: #b45309; }
  #status.live::before { color: #15803d; }
  ol { list-style: none; padding: 0; }
  li { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: .5rem 0; animation: flash 1.2s; overflow-wrap: anywhere; }
  li b { margin-right: .6em; }
  code { font: 13px ui-monospace, monospace; }
  @keyframes flash { from { background: color-mix(in srgb, #facc15 45%, transparent); } }
</style>
<header>
  <h1>Rowcast</h1>
  <span id="status" role="status">Connecting</span>
  <span id="last"></span>
</header>
<p>Rows of <code>messages</code> and <code>complaints</code> appear here as they are committed. Newest first.</p>
<ol id="events" aria-live="polite"></ol>
<script>
  const url = "WEBSOCKET_URL";
  const status = document.getElementById('status');
  const seen = new Set();
  let cursor;

  function connect() {
    const socket = new WebSocket(url + '?userId=page&batch=1' + (cursor ? '&cursor=' + encodeURIComponent(cursor) : ''));
    const heartbeat = setInterval(() => socket.readyState === 1 && socket.send('{"action":"ping"}'), 60000);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      for (const event of message.type === 'BATCH' ? message.events : [message]) receive(event, data);
    };
    socket.onclose = () => {
      clearInterval(heartbeat);
      show('Connecting', '');
      setTimeout(connect, 500 + Math.random() * 1000);
    };
  }

  function receive(event) {
    if (event.cursor) cursor = event.cursor;
    if (event.type === 'READY') return show('Live', 'live');
    if (!event.id || seen.has(event.id)) return;
    seen.add(event.id);
    const item = document.createElement('li');
    const type = document.createElement('b');
    type.textContent = event.type;
    const row = document.createElement('code');
    row.textContent = JSON.stringify(event.data);
    item.append(type, row);
    document.getElementById('events').prepend(item);
    document.getElementById('last').textContent = 'last update ' + new Date(event.timestamp).toLocaleTimeString();
  }

  function show(text, name) {
    status.textContent = text;
    status.className = name;
  }

  connect();
</script>
`;
