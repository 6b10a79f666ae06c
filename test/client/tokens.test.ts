import { SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { openFeed } from '../support/dynamodb/feed.ts';
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
