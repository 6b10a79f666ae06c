import { expect, onTestFinished, test } from 'vitest';
import type { Status } from '../../src/client/connect.ts';
import { openFeed } from '../support/dynamodb/feed.ts';
import { event, ready, ScriptedGateway } from '../support/gateway/scripted-gateway.ts';

const ids = (feed: { messages: readonly { id: string }[] }) =>
  feed.messages.map(({ id }) => Number(id));

/** Long enough for a feed that wrongly goes on to show it: its retries come within 20 ms. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

test.each(['connecting', 'replaying', 'live', 'refused'] as const)(
  'close() when it hears "%s" ends it for good',
  async (at) => {
    let attempts = 0;
    const gateway = await ScriptedGateway.start((connection, attempt) => {
      attempts = attempt;
      if (at === 'refused') return null;
      connection.send(event(attempt), ready());
      if (attempt === 1 && at === 'connecting') connection.cut();
    });
    const feed = openFeed(gateway.url, { renewAfterMs: 50 });
    const heard: Status[] = [];
    feed.onStatus((status) => {
      heard.push(status);
      if (status === at) feed.close();
    });
    await feed.reaches('offline');
    // A handshake that was on its way when it closed may still arrive; a feed that goes on makes
    // others after it.
    await settle();
    const before = attempts;
    await settle();
    expect(heard.slice(-2)).toEqual([at, 'offline']);
    expect(attempts).toBe(before);
    expect(gateway.open).toBe(0);
    expect(feed.readies.length).toBeLessThanOrEqual(at === 'connecting' ? 1 : 0);
  },
);

test('close() within getToken opens no socket, and within a message stops what follows it', async () => {
  const gateway = await ScriptedGateway.start((connection) =>
    connection.send(event(1), event(2), ready()),
  );
  const early = openFeed(gateway.url, {
    getToken: () => {
      early.close();
      return 'token';
    },
  });
  const late = openFeed(gateway.url, { renewAfterMs: 20 });
  late.onMessage(() => late.close());
  await expect.poll(() => late.messages.length).toBe(1);
  await settle();
  expect([gateway.attempts, ids(late), late.readies]).toEqual([1, [1], []]);
});

test('reconnect() from a status makes one socket, not two', async () => {
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  const feed = openFeed(gateway.url);
  await feed.reaches('live');
  const stop = feed.onStatus((status) => {
    if (status !== 'connecting') return;
    stop();
    feed.reconnect();
  });
  feed.reconnect();
  await feed.isReady(2);
  await expect.poll(() => gateway.open).toBe(1);
});

test('the cursor moves with each message and each READY, and not for a frame without one', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt === 1) connection.send(event(1), ready('r1'));
    if (attempt === 2) connection.send(ready('r2'), event(2), event(3, { cursor: undefined }));
  });
  const feed = openFeed(gateway.url, { cursor: 'from before' });
  await feed.isReady(1);
  gateway.connections[0]?.cut();
  await feed.received(3);
  gateway.connections[1]?.cut();
  await expect.poll(() => gateway.connections.length).toBe(3);
  expect(gateway.connections.map(({ query }) => query.get('cursor'))).toEqual([
    'from before',
    'r1',
    'c2',
  ]);
  expect(gateway.connections[0]?.query.get('batch')).toBe('1');
});

test('a replay is in doubt only where it was cut off after a message, and only until the next READY', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt === 1) connection.cut();
    if (attempt === 2) connection.send(ready('r1'));
    if (attempt === 3) connection.send(event(5));
    if (attempt === 4) connection.send(ready('r2'), ready('r3'));
  });
  const feed = openFeed(gateway.url, { cursor: 'old' });
  await feed.isReady(1);
  gateway.connections[1]?.cut();
  await feed.received(1);
  gateway.connections[2]?.cut();
  await feed.isReady(3);
  expect(feed.readies.map(({ recovered }) => recovered)).toEqual([true, false, true]);
});

test('a replay that reconnect() cuts off is in doubt too', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) =>
    attempt === 1 ? connection.send(event(5)) : connection.send(ready()),
  );
  const feed = openFeed(gateway.url, { cursor: 'old' });
  const stop = feed.onMessage(() => {
    stop();
    feed.reconnect();
  });
  await feed.isReady(1);
  expect(feed.readies).toMatchObject([{ recovered: false }]);
});

test('a successor that ends is made again; when the first ends meanwhile, its messages are in doubt', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    connection.send(attempt === 1 ? ready('r1') : event(attempt));
  });
  const feed = openFeed(gateway.url, { renewAfterMs: 50 });
  await feed.received(1);
  gateway.connections[1]?.cut();
  await feed.received(2);
  gateway.connections[0]?.cut();
  await feed.reaches('replaying');
  gateway.connections[2]?.send(ready('r2'));
  await feed.isReady(2);
  expect(feed.readies.map(({ recovered }) => recovered)).toEqual([true, false]);
  expect(feed.statuses).toEqual(['replaying', 'live', 'replaying', 'live']);
});

test('a successor that is refused asks for another token, and the feed stays live', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt === 2) return null;
    connection.send(ready());
    return undefined;
  });
  const flags: boolean[] = [];
  const feed = openFeed(gateway.url, {
    renewAfterMs: 50,
    getToken: ({ refused }) => {
      flags.push(refused);
      return 'token';
    },
  });
  await feed.isReady(2);
  expect(flags.slice(0, 3)).toEqual([false, false, true]);
  expect(feed.statuses).toEqual(['replaying', 'live']);
  feed.close();
  await expect.poll(() => gateway.open).toBe(0);
});

test('another READY makes a connection no younger', async () => {
  const gateway = await ScriptedGateway.start((connection) => {
    connection.send(ready());
    const again = setInterval(() => connection.send(ready()), 20);
    onTestFinished(() => clearInterval(again));
  });
  openFeed(gateway.url, { renewAfterMs: 100 });
  await expect.poll(() => gateway.connections.length).toBeGreaterThan(2);
});

test('a refused token stays refused until one is accepted, whatever fails in between', async () => {
  const gateway = await ScriptedGateway.start((connection, attempt) =>
    attempt === 1 ? null : connection.send(ready()),
  );
  const flags: boolean[] = [];
  const feed = openFeed(gateway.url, {
    getToken: ({ refused }) => {
      flags.push(refused);
      if (flags.length === 2) throw new Error('away');
      return flags.length === 3 ? '<html>' : 'token';
    },
  });
  await feed.reaches('live');
  expect(flags).toEqual([false, true, true, true]);
  expect(feed.errors[2]?.message).toContain('cannot travel as a subprotocol');
  feed.reconnect();
  await feed.isReady(2);
  expect(flags.at(-1)).toBe(false);
});

test('delays double up to their limit and begin anew after READY; each is a part of its limit by chance', async () => {
  const limits: number[] = [];
  const { random } = Math;
  const { setTimeout: own } = globalThis;
  Math.random = () => 0.5;
  globalThis.setTimeout = ((act: () => void, ms?: number) => {
    if (ms !== undefined && ms < 1000) limits.push(ms);
    return own(act, ms);
  }) as typeof setTimeout;
  onTestFinished(() => {
    Math.random = random;
    globalThis.setTimeout = own;
  });
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt <= 4 || attempt === 6) return null;
    connection.send(ready());
    return undefined;
  });
  const feed = openFeed(gateway.url, {
    refusedDelayMs: 20,
    maxRefusedDelayMs: 80,
    connectTimeoutMs: 5000,
  });
  await feed.isReady(1);
  gateway.connections[0]?.cut();
  await feed.isReady(2);
  expect(limits.filter((ms) => [10, 20, 40, 80].includes(ms))).toEqual([10, 20, 40, 40, 10, 20]);
});

test.each([
  [{ renewAfterMs: Number.POSITIVE_INFINITY, pingIntervalMs: Number.POSITIVE_INFINITY }],
  [{ renewAfterMs: 30 * 86_400_000, connectTimeoutMs: Number.POSITIVE_INFINITY }],
])('times that are longer than a timer can be are as good as never: %j', async (options) => {
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  const feed = openFeed(gateway.url, options);
  await feed.reaches('live');
  await settle();
  expect([gateway.attempts, gateway.connections[0]?.pings]).toEqual([1, 0]);
});

test('an option that is no time is named', () => {
  expect(() => openFeed('ws://127.0.0.1/x', { pingIntervalMs: -1 })).toThrow(
    /pingIntervalMs is a number of at least 0, not -1/,
  );
  expect(() => openFeed('ws://127.0.0.1/x', { renewAfterMs: Number.NaN })).toThrow(/renewAfterMs/);
});
