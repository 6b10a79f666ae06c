import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Authenticator } from '../../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../../src/lambdas/connect.ts';
import { contents, numbers } from '../../support/client/contents.ts';
import { startTable } from '../../support/dynamodb/dynamodb.ts';
import { World } from '../../support/world.ts';

test('a dead connection is removed while the others get their rows', async () => {
  const world = await World.start();
  await world.table.store.put({
    connectionId: 'dead=',
    userId: 'x',
    connectedAt: Date.now() - 60_000,
    ttl: Math.floor(Date.now() / 1000) + 3600,
  });
  const relay = world.makeRelay();
  const removed = once(relay, 'ended');
  await relay.start();
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('hello')`);
  await client.received(1);
  await removed;
  await expect
    .poll(async () => (await world.table.items()).map(({ connectionId }) => connectionId))
    .not.toContain('dead=');
});

test('a connection whose $connect has not returned is not taken for dead', async () => {
  let letIn: () => void = () => undefined;
  const world = await World.start({
    connect: async (event) => {
      const { connectionId, connectedAt } = event.requestContext;
      await world.table.store.put({
        connectionId,
        userId: 'slow',
        connectedAt,
        ttl: Math.floor(Date.now() / 1000) + 3600,
      });
      await new Promise<void>((resolve) => {
        letIn = resolve;
      });
      return { statusCode: 200 };
    },
  });
  const relay = await world.relay();
  const connecting = world.connect();
  for (let refused = false; !refused; ) {
    const [, outcome] = (await once(relay, 'posted')) as [unknown, { kind: string }];
    refused = outcome.kind === 'gone';
  }
  letIn();
  const client = await connecting;
  await client.ready();
});

test('a connection that cannot be served delays nobody, and is closed so that its client resumes', async () => {
  const world = await World.start();
  const relay = await world.relay({ deliveryDeadlineMs: 300 });
  const [sick, healthy] = await Promise.all([
    world.live({ userId: 'sick' }),
    world.live({ userId: 'healthy' }),
  ]);
  await world.failing('sick', { status: 429 });
  const closed = once(sick.socket, 'close');
  const ended = once(relay, 'ended');
  for (let n = 1; sick.socket.readyState === sick.socket.OPEN; n++) {
    await world.sql('insert into messages (content) values ($1)', [String(n)]);
    await healthy.received(n);
  }
  await closed;
  expect((await ended)[1]).toBe('closed');
  expect(sick.events).toEqual([]);
  const back = await world.live({ userId: 'sick', cursor: (await sick.ready()).cursor as string });
  expect(contents(back.events)).toEqual(contents(healthy.events).slice(0, back.events.length));
  expect(back.events.length).toBeGreaterThan(0);
});

test('a slow connection falls behind, goes on from the log, and delays nobody else', async () => {
  const world = await World.start();
  const relay = await world.relay({ maxBytesInFlight: 20_000, pageRows: 20 });
  const [fast, other, slow] = await Promise.all([
    world.live({ batch: '1' }),
    world.live({ batch: '1' }),
    world.live({ userId: 'slow' }),
  ]);
  const slowId = await world.failing('slow', { status: 429 });
  const behind = once(relay, 'behind');
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 500) n`);
  await Promise.all([fast, other].map((client) => client.received(500)));
  expect((await behind)[0]).toMatchObject({ connectionId: slowId });
  expect(slow.events).toEqual([]);
  // The others are long past, and so is the cursor; it names the slow one, with what it has.
  await expect.poll(() => world.passed()).toBe(500);
  world.heal();
  await slow.received(500);
  expect([...new Set(contents(slow.events))]).toEqual(numbers(500));
  await world.sql(`insert into messages (content) values ('live again')`);
  await slow.frame(({ data }) => data?.content === 'live again');
});

test('a client that is slow with its replay does not hold up the others', async () => {
  const world = await World.start();
  const relay = await world.relay({ maxBytesInFlight: 20_000, pageRows: 20 });
  const [one, two] = await Promise.all([world.live({ batch: '1' }), world.live({ batch: '1' })]);
  await world.sql('insert into messages (content) select n::text from generate_series(1, 20) n');
  await Promise.all([one, two].map((client) => client.received(20)));
  let release: (passed: null) => void = () => undefined;
  const held = new Promise<null>((resolve) => {
    release = resolve;
  });
  const known = new Set((await world.table.items()).map(({ connectionId }) => connectionId));
  world.posts.fault = ({ connectionId }) => (known.has(connectionId) ? null : held);
  const joined = once(relay, 'joining');
  const { cursor } = await one.ready();
  const slow = await world.connect({ cursor: cursor as string });
  await joined;
  await world.sql('insert into messages (content) select n::text from generate_series(21, 520) n');
  await Promise.all([one, two].map((client) => client.received(520)));
  expect(slow.frames).toEqual([]);
  release(null);
  await slow.received(520);
  expect([...new Set(contents(slow.events))]).toEqual(numbers(520));
  expect(await slow.ready()).toMatchObject({ recovered: true });
});

test('a takeover delivers what a connection is missing whose socket could not be closed yet', async () => {
  const world = await World.start();
  const relay = await world.relay({ deliveryDeadlineMs: 300 });
  const [sick, healthy] = await Promise.all([
    world.live({ userId: 'sick' }),
    world.live({ userId: 'healthy' }),
  ]);
  const sickId = await world.idOf('sick');
  let closing = false;
  world.posts.fault = ({ method, connectionId }) => {
    if (connectionId !== sickId) return null;
    closing ||= method === 'DELETE';
    return { status: 429 };
  };
  let n = 0;
  for (; !closing; n++) {
    await world.sql('insert into messages (content) values ($1)', [String(n + 1)]);
    await healthy.received(n + 1);
  }
  await relay.stop();
  world.heal();
  await world.relay();
  await sick.received(n);
  expect(contents(sick.events)).toEqual(numbers(n));
});

test('a client is disconnected when its token expires', async () => {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const authenticator = new Authenticator({ mode: 'none' });
  const connect = connectHandler({ authenticator, store: table.store, connectionTtlSeconds: 2 });
  const world = await World.start({ table, connect });
  await world.relay();
  const client = await world.live();
  expect((await once(client.socket, 'close'))[0]).toBe(1000);
  await expect.poll(() => table.items()).toEqual([]);
});

test('clients whose tokens expired while no relay ran are disconnected by the next', async () => {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const authenticator = new Authenticator({ mode: 'none' });
  const connect = connectHandler({ authenticator, store: table.store, connectionTtlSeconds: 1 });
  const world = await World.start({ table, connect });
  const clients = await Promise.all([world.connect(), world.connect()]);
  const lives = Number((await table.items())[0]?.ttl) * 1000 - Date.now();
  const closed = clients.map(({ socket }) => once(socket, 'close'));
  await setTimeout(Math.max(0, lives) + 10);
  await world.sql(`insert into messages (content) values ('not for them')`);
  await world.relay();
  for (const [code] of await Promise.all(closed)) expect(code).toBe(1000);
  for (const { messages } of clients) expect(messages).toEqual([]);
  await expect.poll(() => table.items()).toEqual([]);
});
