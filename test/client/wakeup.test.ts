import { getEventListeners } from 'node:events';
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { openFeed } from '../support/dynamodb/feed.ts';
import { ready, ScriptedGateway } from '../support/gateway/scripted-gateway.ts';

/** The part of a browser's page that the client uses, put where it looks. */
function openPage() {
  const target = new EventTarget();
  const document = Object.assign(new EventTarget(), { hidden: false });
  const navigator = { onLine: true };
  const parts = {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
    document,
    navigator,
  };
  const own = Object.keys(parts).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  );
  for (const [name, value] of Object.entries(parts))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  onTestFinished(() => {
    for (const [name, descriptor] of own) {
      delete (globalThis as Record<string, unknown>)[name];
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    }
  });
  return {
    document,
    says: (type: string) => target.dispatchEvent(new Event(type)),
    looks: () => document.dispatchEvent(new Event('visibilitychange')),
    network(onLine: boolean) {
      navigator.onLine = onLine;
      target.dispatchEvent(new Event(onLine ? 'online' : 'offline'));
    },
    listeners: () =>
      ['online', 'offline', 'pageshow', 'focus'].flatMap((type) => getEventListeners(target, type))
        .length + getEventListeners(document, 'visibilitychange').length,
  };
}

const NEVER = {
  reconnectDelayMs: 3_600_000,
  maxReconnectDelayMs: 3_600_000,
  refusedDelayMs: 3_600_000,
  maxRefusedDelayMs: 3_600_000,
};

test('with the network it is back at once, in place of an attempt that hangs', async () => {
  const page = openPage();
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  let hangs = true;
  const feed = openFeed(gateway.url, {
    ...NEVER,
    connectTimeoutMs: 3_600_000,
    getToken: () => (hangs ? new Promise<string>(() => undefined) : 'token'),
  });
  page.network(false);
  expect(feed.status).toBe('offline');
  hangs = false;
  page.network(true);
  await feed.reaches('live');
});

test('a look at the tab brings it back where it waited, a hidden tab and a storm of looks do not', async () => {
  const page = openPage();
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt === 1) return null;
    connection.send(ready());
    return undefined;
  });
  const feed = openFeed(gateway.url, NEVER);
  await feed.reaches('refused');
  for (let i = 0; i < 20; i++) page.says('focus');
  expect(gateway.attempts).toBe(1);
  page.document.hidden = true;
  page.looks();
  const { now } = Date;
  Date.now = () => now() + 60_000;
  onTestFinished(() => {
    Date.now = now;
  });
  page.looks();
  expect(feed.status).toBe('refused');
  page.document.hidden = false;
  page.looks();
  await feed.reaches('live');
  expect(gateway.attempts).toBe(2);
});

test.each(['focus', 'pageshow', 'online'])(
  '"%s" asks an open connection for a sign of life',
  async (type) => {
    const page = openPage();
    const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
    const feed = openFeed(gateway.url, { pongTimeoutMs: 100 });
    await feed.reaches('live');
    page.says(type);
    await expect.poll(() => gateway.connections[0]?.pings).toBe(1);
    gateway.ponging = false;
    // While the first pong is on its way, nothing more is asked.
    await expect
      .poll(() => {
        page.says(type);
        return gateway.connections[0]?.pings;
      })
      .toBe(2);
    await feed.isReady(2);
    expect(feed.errors[0]?.message).toContain('does not answer pings');
  },
);

test('without a network it says so and goes on to try; a sign of life tells otherwise', async () => {
  const page = openPage();
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  const feed = openFeed(gateway.url);
  await feed.reaches('live');
  page.network(false);
  expect(feed.status).toBe('offline');
  // This machine is reached without one.
  await feed.reaches('live');
  gateway.connections[0]?.cut();
  await feed.isReady(2);
  expect(feed.statuses).toEqual([
    'replaying',
    'live',
    'offline',
    'live',
    'offline',
    'replaying',
    'live',
  ]);
});

test('a page that was frozen asks once more before it gives a connection up; a clock that is set back stops no pings', async () => {
  openPage();
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  gateway.ponging = false;
  const { now } = Date;
  onTestFinished(() => {
    Date.now = now;
  });
  const feed = openFeed(gateway.url, { pingIntervalMs: 50, pongTimeoutMs: 100 });
  await feed.reaches('live');
  await expect.poll(() => gateway.connections[0]?.pings).toBe(1);
  Date.now = () => now() + 60_000;
  await expect.poll(() => gateway.connections[0]?.pings).toBe(2);
  gateway.ponging = true;
  expect(feed.errors).toEqual([]);
  const pings = () => gateway.connections.reduce((sum, connection) => sum + connection.pings, 0);
  await expect.poll(pings).toBeGreaterThan(2);
  Date.now = () => now() - 3_600_000;
  const before = pings();
  await expect.poll(pings).toBeGreaterThan(before + 1);
});

test('a feed that is closed leaves nothing behind: no listener of the page or the signal, no question to a server that hangs', async () => {
  const page = openPage();
  const hanging = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void hanging.close());
  await new Promise((resolve) => hanging.once('listening', resolve));
  const sockets: { destroyed: boolean; destroy(): unknown }[] = [];
  hanging.on('connection', (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    // The handshake is cut, what asks by HTTP is never answered.
    if (sockets.length === 1) socket.once('data', () => socket.destroy());
    else socket.resume();
  });
  const { port } = hanging.address() as { port: number };
  const abort = new AbortController();
  const feed = openFeed(`ws://127.0.0.1:${port}/x`, { signal: abort.signal, ...NEVER });
  expect(page.listeners()).toBe(5);
  await expect.poll(() => sockets.length).toBe(2);
  feed.close();
  expect(page.listeners()).toBe(0);
  expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  await expect.poll(() => sockets.every(({ destroyed }) => destroyed)).toBe(true);
});
