import { SignJWT } from 'jose';
import { WebSocket as Undici } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import type { ConnectOptions } from '../../src/client/connect.ts';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import { freePort } from '../../src/local/ports.ts';
import { startTable } from '../support/dynamodb/dynamodb.ts';
import { openFeed, type RecordedFeed } from '../support/dynamodb/feed.ts';
import { World } from '../support/world.ts';

const secret = 'a secret that is long enough for HS256';
const token = (subject: string) =>
  new SignJWT({ rooms: ['office'] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(subject)
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));
const auth = {
  mode: 'jwt' as const,
  key: { secret: new TextEncoder().encode(secret) },
  rolesClaim: 'roles',
  roomsClaim: 'rooms',
};

test.each(['subprotocol', 'query'] as const)(
  'each connection gets a token of its own, by %s',
  async (tokenIn) => {
    const world = await World.start({ auth });
    await world.relay();
    const attempts: boolean[] = [];
    const feed = openFeed(world.gateway.websocketUrl, {
      tokenIn,
      rooms: ['office'],
      getToken: ({ refused }) => {
        attempts.push(refused);
        return token('bob');
      },
    });
    await feed.reaches('live');
    world.cut();
    await feed.isReady(2);
    expect(attempts).toEqual([false, false]);
    await world.sql(
      `select rowcast.send_to_user('bob', 'direct', '1'), rowcast.send_to_room('office', 'room', '2')`,
    );
    await feed.received(2);
    expect(feed.messages.map(({ type }) => type)).toEqual(['direct', 'room']);
  },
);

test('a token that is refused is told from a server that is away, and the next one is asked for anew', async () => {
  const world = await World.start({ auth });
  await world.relay();
  const answers = [null, 'not a token', await token('bob')];
  const attempts: boolean[] = [];
  const feed = openFeed(world.gateway.websocketUrl, {
    tokenIn: 'query',
    getToken: ({ refused }) => {
      attempts.push(refused);
      return answers.shift() ?? null;
    },
  });
  await feed.reaches('live');
  expect(attempts).toEqual([false, true, true]);
  expect(feed.statuses).toEqual([
    'refused',
    'connecting',
    'refused',
    'connecting',
    'replaying',
    'live',
  ]);
  expect(feed.errors.map(({ message }) => message)).toEqual([
    expect.stringContaining('getToken has no token'),
    expect.stringContaining('refuses the handshake'),
  ]);
});

test('a token that cannot be had, or would take for ever, is a failed attempt', async () => {
  const world = await World.start();
  await world.relay();
  const answers = [
    () => Promise.reject(new Error('503')),
    () => new Promise<string>(() => undefined),
    () => 'token',
  ];
  const feed = openFeed(world.gateway.websocketUrl, {
    connectTimeoutMs: 500,
    getToken: () => (answers.shift() as () => Promise<string>)(),
  });
  await feed.reaches('live');
  expect(feed.errors[0]?.cause).toEqual(new Error('503'));
  expect(feed.errors[1]?.message).toContain('in time');
});

test('reconnect() makes a new connection with a new token', async () => {
  const world = await World.start({ auth });
  await world.relay();
  const tokens = [await token('bob'), await token('ada')];
  const feed = openFeed(world.gateway.websocketUrl, { getToken: () => tokens.shift() ?? null });
  await feed.reaches('live');
  feed.reconnect();
  await feed.isReady(2);
  await world.sql(`select rowcast.send_to_user('ada', 'direct', '1')`);
  await feed.received(1);
});

test('a feed that is disconnected says why, asks for a fresh token, and comes back to what it missed', async () => {
  const world = await World.start({ auth });
  await world.relay();
  const attempts: boolean[] = [];
  const feed = openFeed(world.gateway.websocketUrl, {
    getToken: ({ refused }) => {
      attempts.push(refused);
      return token('bob');
    },
  });
  await feed.reaches('live');
  await world.sql(
    `select rowcast.disconnect('user:bob', 'your role has changed'), rowcast.broadcast('news', '1')`,
  );
  await feed.isReady(2);
  expect(feed.errors.map(({ message }) => message)).toEqual([
    'rowcast: disconnected: your role has changed',
  ]);
  expect(attempts).toEqual([false, true]);
  expect(feed.messages.map(({ type }) => type)).toEqual(['news']);
  expect(feed.readies[1]).toMatchObject({ recovered: true });
});

/** A gateway whose $connect is the real one, with a table that the test may take away. */
async function gatewayWith(
  options: { connectionsPerUser?: number; explainsRefusals?: boolean } = {},
) {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const connect = connectHandler({
    authenticator: new Authenticator(auth),
    store: table.store,
    connectionTtlSeconds: 7200,
    ...options,
  });
  return { table, world: await World.start({ table, auth, connect }) };
}
/** It says with which status a handshake failed; those of browsers and undici do not. */
const telling = { WebSocket: WebSocket as never };

test('an error says by its code whether the token, a room, a limit, the server or the network is the cause', async () => {
  const { world, table } = await gatewayWith({ connectionsPerUser: 1 });
  await world.relay();
  const url = world.gateway.websocketUrl;
  const code = async (options: Partial<ConnectOptions>, to = url) => {
    const feed = openFeed(to, { ...telling, ...options });
    await expect.poll(() => feed.errors.length).toBeGreaterThan(0);
    feed.close();
    return feed.errors[0]?.code;
  };
  const as = (subject: string) => ({ getToken: () => token(subject) });
  expect(await code({ getToken: () => 'no.good.token' })).toBe('401');
  expect(await code({ ...as('bob'), rooms: ['secret'] }, `${url}?strict=1`)).toBe('403');
  await openFeed(url, as('ann')).reaches('live');
  expect(await code(as('ann'))).toBe('429');
  expect(await code({ getToken: () => null })).toBe('refused');
  expect(await code({ getToken: () => Promise.reject(new Error('503')) })).toBe('unreachable');
  expect(await code(as('bob'), `ws://127.0.0.1:${await freePort()}/test`)).toBe('unreachable');
  const silent = { getToken: () => 'no.good.token', WebSocket: Undici as never };
  expect(await code(silent)).toBe('refused');
  const live = openFeed(url, as('cid'));
  await live.reaches('live');
  world.cut();
  await expect.poll(() => live.errors.map((error) => error.code)).toContain('lost');
  await table.stop();
  expect(await code(as('dan'))).toMatch(/^5\d\d$/);
});

test('a WebSocket that tells no status, as a browser, hears it where $connect may explain itself', async () => {
  const { world, table } = await gatewayWith({ connectionsPerUser: 1, explainsRefusals: true });
  await world.relay();
  const url = world.gateway.websocketUrl;
  const feeds: RecordedFeed[] = [];
  const code = async (
    getToken: () => string | Promise<string>,
    more: Partial<ConnectOptions> = {},
  ) => {
    const silent = { getToken, WebSocket: Undici as never, ...more };
    const feed = openFeed(`${url}?strict=1`, silent);
    feeds.push(feed);
    await expect.poll(() => feed.errors.length).toBeGreaterThan(0);
    feed.close();
    return feed.errors[0]?.code;
  };
  expect(await code(() => 'no.good.token')).toBe('401');
  expect(await code(() => token('bob'), { rooms: ['secret'] })).toBe('403');
  await openFeed(url, { getToken: () => token('ann') }).reaches('live');
  expect(await code(() => token('ann'))).toBe('429');
  // By the query it cannot be asked for.
  expect(await code(() => 'no.good.token', { tokenIn: 'query' })).toBe('refused');
  await table.stop();
  expect(await code(() => token('dan'))).toBe('500');
  for (const { statuses } of feeds)
    expect(statuses.filter((status) => status === 'replaying' || status === 'live')).toEqual([]);
  expect(feeds.at(-1)?.statuses).not.toContain('refused');
  await expect.poll(() => world.gateway.connections.size).toBe(1);
});

test('a server that fails says nothing of the token', async () => {
  const { world, table } = await gatewayWith();
  await world.relay();
  await table.stop();
  const attempts: boolean[] = [];
  const feed = openFeed(world.gateway.websocketUrl, {
    ...telling,
    getToken: ({ refused }) => {
      attempts.push(refused);
      return token('bob');
    },
  });
  await expect.poll(() => attempts.length).toBeGreaterThan(2);
  expect(attempts).not.toContain(true);
  expect(feed.statuses).not.toContain('refused');
});
