import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { freePort } from '../../src/local/ports.ts';
import { contents } from '../support/client/contents.ts';
import { openFeed } from '../support/dynamodb/feed.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { World } from '../support/world.ts';

const insert = (world: World, ...contents: string[]) =>
  world.sql('insert into messages (content) select unnest($1::text[])', [contents]);

test('rows arrive as they are committed, after READY, and tell what they are', async () => {
  const world = await World.start();
  await world.relay();
  const feed = openFeed(world.gateway.websocketUrl);
  const complaints: unknown[] = [];
  const stop = feed.on('NEW_COMPLAINT', ({ data }) =>
    complaints.push((data as { title: string }).title),
  );
  await feed.reaches('live');
  expect(feed.statuses).toEqual(['replaying', 'live']);
  expect(feed.readies).toEqual([{ recovered: true, first: true, cursor: expect.any(String) }]);
  await insert(world, 'one', 'two');
  await world.sql(`insert into complaints (title) values ('late')`);
  await feed.received(3);
  expect(feed.messages[0]).toEqual({
    id: expect.stringMatching(/^\d+$/),
    type: 'NEW_MESSAGE',
    data: expect.objectContaining({ content: 'one' }),
    timestamp: expect.any(Number),
    tx: expect.stringMatching(/^\d+$/),
    cursor: expect.any(String),
  });
  expect(complaints).toEqual(['late']);
  stop();
  await world.sql(`insert into complaints (title) values ('unheard')`);
  await feed.received(4);
  expect(complaints).toEqual(['late']);
});

test('rows committed while the client was cut off arrive once, and then READY with recovered', async () => {
  const world = await World.start();
  await world.relay();
  const feed = openFeed(world.gateway.websocketUrl);
  await feed.reaches('live');
  await insert(world, 'before');
  await feed.received(1);
  world.cut();
  await insert(world, 'away 1');
  await insert(world, 'away 2');
  await feed.isReady(2);
  await insert(world, 'after');
  await feed.received(4);
  expect(contents(feed.messages)).toEqual(['before', 'away 1', 'away 2', 'after']);
  expect(feed.readies.map(({ recovered, first }) => ({ recovered, first }))).toEqual([
    { recovered: true, first: true },
    { recovered: true, first: false },
  ]);
  expect(feed.statuses.slice(0, 5)).toEqual([
    'replaying',
    'live',
    'connecting',
    'replaying',
    'live',
  ]);
});

test('the cursor of an earlier visit goes on from there; one of another database says that it did not', async () => {
  const world = await World.start();
  await world.relay();
  const first = openFeed(world.gateway.websocketUrl);
  await first.reaches('live');
  const { cursor } = first;
  first.close();
  await insert(world, 'missed');
  const second = openFeed(world.gateway.websocketUrl, { cursor: cursor as string });
  await second.reaches('live');
  expect(contents(second.messages)).toEqual(['missed']);
  const stranger = openFeed(world.gateway.websocketUrl, { cursor: '5.deadbeef' });
  await stranger.reaches('live');
  expect(stranger.readies).toMatchObject([{ recovered: false, first: true }]);
});

test('a replay that is cut off in its middle is never called whole', async () => {
  const world = await World.start();
  await world.relay();
  await insert(world, ...Array.from({ length: 60 }, (_, n) => `${n} ${'x'.repeat(2000)}`));
  let posts = 0;
  world.posts.fault = ({ method }) => (method === 'POST' && ++posts > 1 ? 'hang' : null);
  // The cursor is of another database: the relay would answer recovered: false, but is not there.
  const feed = openFeed(world.gateway.websocketUrl, { cursor: '5.deadbeef' });
  await expect.poll(() => feed.messages.length).toBeGreaterThan(0);
  expect(feed.messages.length).toBeLessThan(60);
  world.heal();
  world.cut();
  await feed.reaches('live');
  // The second connection presented a cursor of this database, from which the relay could recover
  // everything.
  expect(feed.readies).toMatchObject([{ recovered: false }]);
  expect(new Set(contents(feed.messages)).size).toBe(60);
  expect(feed.messages.length).toBe(60);
});

test('a row that was too large is fetched, and what follows waits for it', async () => {
  const world = await World.start();
  await world.relay();
  const asked: unknown[] = [];
  const feed = openFeed(world.gateway.websocketUrl, {
    fetchTimeoutMs: 300,
    fetchRow: async ({ data }) => {
      const { id } = data as { id: number };
      asked.push(id);
      if (id === 3) throw new Error('away');
      if (id === 5) return new Promise(() => undefined);
      return (await world.sql('select * from messages where id = $1', [id]))[0];
    },
  });
  await feed.reaches('live');
  const large = 'x'.repeat(40_000);
  await insert(world, large, 'small', large, 'small too', large, 'last');
  await feed.received(6);
  expect(asked).toEqual([1, 3, 5]);
  expect(
    feed.messages.map(({ data, truncated }) => [(data as { id: number }).id, truncated]),
  ).toEqual([
    ['1', undefined],
    [2, undefined],
    [3, true],
    [4, undefined],
    [5, true],
    [6, undefined],
  ]);
  expect(contents(feed.messages)[0]).toBe(large);
});

test('data arrives as text where that is asked for, every digit of it', async () => {
  const world = await World.start();
  await world.relay();
  await world.sql('create table ledger (id bigint primary key, amount numeric, note json)');
  await world.sql(`select rowcast.watch('ledger', include_old => true)`);
  const feed = openFeed(world.gateway.websocketUrl, { dataAsText: true });
  await feed.reaches('live');
  const note = '{"a": "}\\"]",\n "b": [1, {"c": "\\\\"}]}';
  await world.sql('insert into ledger values (9007199254740993, 0.10000000000000000001, $1)', [
    note,
  ]);
  await world.sql('update ledger set amount = 1e25');
  await world.sql('truncate ledger');
  await feed.received(3);
  const [inserted, updated, truncated] = feed.messages;
  expect(inserted?.data).toBe(
    `{"id":9007199254740993,"amount":0.10000000000000000001,"note":${note}}`,
  );
  expect(updated?.data).toContain('"amount":10000000000000000000000000');
  expect((updated as { old?: unknown }).old).toBe(inserted?.data);
  expect(truncated).toMatchObject({
    type: 'TRUNCATE_LEDGER',
    data: 'null',
    id: expect.any(String),
  });
});

test('the client comes back by itself after the server was away, and says meanwhile why', async () => {
  const port = await freePort();
  const feed = openFeed(`ws://127.0.0.1:${port}/test`);
  await expect.poll(() => feed.errors.length).toBeGreaterThan(2);
  expect(feed.status).toBe('connecting');
  expect(feed.errors[0]?.message).toContain('cannot be reached');
  const world = await World.start({ port });
  await world.relay();
  await feed.reaches('live');
});

test('a connection that is open and dead is noticed by the pong that does not come', async () => {
  const world = await World.start();
  await world.relay();
  const { port, pathname } = new URL(world.gateway.websocketUrl);
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(port) });
  onTestFinished(() => proxy.stop());
  const feed = openFeed(`ws://127.0.0.1:${proxy.port}${pathname}`, {
    pingIntervalMs: 50,
    pongTimeoutMs: 200,
  });
  await feed.reaches('live');
  proxy.freeze();
  await insert(world, 'into the void');
  await feed.received(1);
  expect(feed.errors[0]?.message).toContain('does not answer pings');
  expect(contents(feed.messages)).toEqual(['into the void']);
});

test('pings keep a silent connection open', async () => {
  const world = await World.start({ idleTimeoutMs: 1500 });
  await world.relay();
  let connections = 0;
  world.gateway.on('connected', () => connections++);
  const feed = openFeed(world.gateway.websocketUrl, { pingIntervalMs: 50 });
  await feed.reaches('live');
  const [connection] = world.gateway.connections.values();
  const until = Date.now() + 3000;
  await expect.poll(() => connection?.lastActiveAt).toBeGreaterThan(until);
  expect(connections).toBe(1);
});

test('before its time is over a connection is followed by another, and nobody notices', async () => {
  const world = await World.start();
  await world.relay();
  let connections = 0;
  world.gateway.on('connected', () => connections++);
  const feed = openFeed(world.gateway.websocketUrl, { renewAfterMs: 300 });
  await feed.reaches('live');
  let written = 0;
  while (connections < 4) await insert(world, String(++written));
  await feed.received(written);
  expect(contents(feed.messages)).toEqual(Array.from({ length: written }, (_, n) => String(n + 1)));
  expect(feed.statuses).toEqual(['replaying', 'live']);
  await expect.poll(() => world.gateway.connections.size).toBe(1);
});

test('a killed relay is a pause', async () => {
  const world = await World.start();
  const first = world.daemon();
  await first.logged('leading');
  const feed = openFeed(world.gateway.websocketUrl);
  await feed.reaches('live');
  await first.kill();
  await insert(world, 'while it was dead');
  world.daemon();
  await feed.received(1);
  expect(feed.status).toBe('live');
});

test('a feed can be iterated over, each message once, until it is closed', async () => {
  const world = await World.start();
  await world.relay();
  const feed = openFeed(world.gateway.websocketUrl);
  await feed.reaches('live');
  const seen: unknown[] = [];
  const iterating = (async () => {
    for await (const { data } of feed) {
      seen.push((data as { content: string }).content);
      if (seen.length === 3) feed.close();
    }
  })();
  const [early] = await Promise.all([
    feed[Symbol.asyncIterator]().next(),
    insert(world, 'one', 'two', 'three'),
  ]);
  await iterating;
  expect(seen).toEqual(['one', 'two', 'three']);
  expect(early.done).toBe(false);
});

test('a signal or close() ends it for good', async () => {
  const world = await World.start();
  await world.relay();
  const abort = new AbortController();
  const feed = openFeed(world.gateway.websocketUrl, { signal: abort.signal });
  await feed.reaches('live');
  const connection = [...world.gateway.connections.values()][0];
  const closed = once(
    connection?.socket as NonNullable<typeof connection>['socket'] & object,
    'close',
  );
  abort.abort();
  expect(feed.status).toBe('offline');
  expect((await closed)[0]).toBe(1000);
  feed.close();
  feed.reconnect();
  expect(feed.statuses).toEqual(['replaying', 'live', 'offline']);
  const tokens: unknown[] = [];
  const never = openFeed(world.gateway.websocketUrl, {
    signal: abort.signal,
    getToken: () => `${tokens.push(1)}`,
  });
  expect(never.status).toBe('offline');
  expect(tokens).toEqual([]);
});

test('a listener that throws keeps no other from hearing', async () => {
  const world = await World.start();
  await world.relay();
  const uncaught: unknown[] = [];
  const handlers = process.listeners('uncaughtException');
  process
    .removeAllListeners('uncaughtException')
    .on('uncaughtException', (error) => uncaught.push(error));
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    for (const handler of handlers) process.on('uncaughtException', handler);
  });
  const feed = connect({
    url: world.gateway.websocketUrl,
    WebSocket: (await import('undici')).WebSocket,
  });
  onTestFinished(() => feed.close());
  const boom = new Error('boom');
  feed.onReady(() => {
    throw boom;
  });
  await new Promise((resolve) => feed.onReady(resolve));
  await expect.poll(() => uncaught).toEqual([boom]);
});

test.each([
  [{ url: 'nowhere' }, /url looks like wss:.*not "nowhere"/],
  [{ url: 'ftp://host/stage' }, /url looks like wss:.*not "ftp:/],
  [{ url: 'wss://host/stage', rooms: ['a,b'] }, /rooms: "a,b"/],
  [{ url: 'wss://host/stage', WebSocket: undefined }, /no global WebSocket.*Node before 22/],
])('an option that is wrong is named: %j', (options, message) => {
  const global = globalThis as { WebSocket?: unknown };
  const own = global.WebSocket;
  delete global.WebSocket;
  onTestFinished(() => void Object.assign(global, own && { WebSocket: own }));
  class Never {}
  expect(() => connect({ WebSocket: Never as never, ...options } as never)).toThrow(message);
});
