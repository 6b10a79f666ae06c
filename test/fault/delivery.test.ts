import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { startTable } from '../support/dynamodb.ts';
import { runDaemon } from '../support/run-daemon.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { World } from '../support/world.ts';
import { Writers } from '../support/writers.ts';

const contents = (frames: readonly { data?: Record<string, unknown> | null }[]) =>
  frames.map(({ data }) => data?.content);
const numbers = (n: number) => Array.from({ length: n }, (_, i) => String(i + 1));

test('ten rude writers: each client has every committed row once, in one order', async () => {
  const world = await World.start();
  await world.relay({ pageRows: 50 });
  const clients = await Promise.all([world.live(), world.live({ batch: '1' })]);
  const writers = new Writers(world.database, 1);
  await writers.run(10, 40);
  for (const client of clients) {
    await client.received(writers.committed.size);
    expect(client.ids.length).toBe(writers.committed.size);
    expect(new Set(contents(client.events))).toEqual(writers.committed);
  }
  expect(clients[0]?.ids).toEqual(clients[1]?.ids);
});

test('a transaction that stays open delays nobody but itself', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  const slow = await world.database.client();
  await slow.query('begin');
  await slow.query(`insert into messages (content) values ('slow')`);
  for (const n of numbers(20)) {
    await world.sql('insert into messages (content) values ($1)', [n]);
    await client.frame(({ data }) => data?.content === n);
  }
  expect(contents(client.events)).toEqual(numbers(20));
  await slow.query('commit');
  slow.release();
  await client.frame(({ data }) => data?.content === 'slow');
});

test('a dead connection is removed while the others get their rows', async () => {
  const world = await World.start();
  await world.table.store.put({
    connectionId: 'dead=',
    userId: 'x',
    connectedAt: Date.now() - 60_000,
    ttl: Math.floor(Date.now() / 1000) + 3600,
  });
  const relay = await world.relay();
  const client = await world.live();
  const removed = once(relay, 'ended');
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

test('two relays started together deliver each row once', async () => {
  const world = await World.start();
  const relays = await Promise.all([world.relay(), world.relay()]);
  expect(relays.map(({ role }) => role).sort()).toEqual(['leader', 'standby']);
  const client = await world.live();
  await world.sql('insert into messages (content) select n::text from generate_series(1, 200) n');
  await client.received(200);
  await world.sql(`insert into messages (content) values ('last')`);
  await client.frame(({ data }) => data?.content === 'last');
  expect(contents(client.events)).toEqual([...numbers(200), 'last']);
});

test('a standby takes over when the leader stops, and nothing is lost or doubled', async () => {
  const world = await World.start();
  const first = await world.relay();
  const second = await world.relay();
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('1')`);
  await client.received(1);
  const led = once(second, 'role');
  await first.stop();
  expect(await led).toEqual(['leader']);
  await world.sql(`insert into messages (content) values ('2')`);
  await client.received(2);
  expect(contents(client.events)).toEqual(['1', '2']);
});

test('rows inserted while no relay runs arrive when it starts, in order', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  await relay.stop();
  for (const n of numbers(30)) await world.sql('insert into messages (content) values ($1)', [n]);
  await world.relay({ pageRows: 7 });
  await client.received(30);
  expect(contents(client.events)).toEqual(numbers(30));
});

test('a client that was away gets what it missed by its cursor, then READY', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live({ userId: 'bob' });
  await world.sql(`insert into messages (content) values ('seen')`);
  const { cursor } = await client.frame(({ data }) => data?.content === 'seen');
  await client.close();
  await world.sql(`insert into messages (content) values ('missed')`);
  await world.sql(`select rowcast.send('secret', '1', '{user:eve}')`);
  const back = await world.live({ userId: 'bob', cursor: cursor as string });
  expect(back.frames.map(({ type, data }) => data?.content ?? type)).toEqual(['seen', 'missed', 'READY']);
  expect(await back.ready()).toMatchObject({ recovered: true });
});

test.each(['1.00000000', 'nonsense', '9'.repeat(200)])(
  'a cursor of another database (%s) is answered with recovered: false',
  async (cursor) => {
    const world = await World.start();
    await world.relay();
    const client = await world.live({ cursor });
    expect(await client.ready()).toMatchObject({ recovered: false });
  },
);

test('a client that does not wait for READY misses nothing that was committed after it connected', async () => {
  const world = await World.start();
  await world.relay();
  const slow = await world.database.client();
  await slow.query('begin');
  await slow.query(`insert into messages (content) values ('written before, committed after')`);
  await world.sql(`insert into messages (content) values ('long before')`);
  const client = await world.connect();
  await slow.query('commit');
  slow.release();
  await world.sql(`insert into messages (content) values ('after')`);
  await Promise.all(
    ['written before, committed after', 'after'].map((content) =>
      client.frame(({ data }) => data?.content === content),
    ),
  );
});

test('the LISTEN connection and the lease are made again after their backends were terminated', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  for (const round of numbers(3)) {
    const led = once(relay, 'role');
    await world.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowcast %' and datname = current_database()`,
    );
    await world.sql('insert into messages (content) values ($1)', [round]);
    await led;
    await client.frame(({ data }) => data?.content === round);
  }
  expect(new Set(contents(client.events))).toEqual(new Set(numbers(3)));
});

test('Postgres is stopped and started under the relay: what was committed before and after arrives', async () => {
  const folder = await temporaryFolder('fault');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const options = { dataDir: join(folder, 'data'), logFile: join(folder, 'log') };
  let postgres = await LocalPostgres.start(options);
  onTestFinished(() => postgres.stop());
  const { port } = postgres;
  const world = await World.start();
  const daemon = runDaemon(['start'], { ...world.environment(), DATABASE_URL: postgres.url('postgres') });
  await daemon.logged('leading');
  const client = await world.live();
  const insert = async (content: string) => {
    const pg = await import('pg');
    const session = new pg.default.Client(postgres.url('postgres'));
    await session.connect();
    await session.query('insert into messages (content) values ($1)', [content]);
    await session.end();
  };
  await insert('before');
  await client.received(1);
  await postgres.stop();
  await daemon.logged('database_lost');
  postgres = await LocalPostgres.start({ ...options, port });
  await insert('after');
  await client.frame(({ data }) => data?.content === 'after');
  expect(new Set(contents(client.events))).toEqual(new Set(['before', 'after']));
});

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s in the middle of a window: what is in flight is delivered, the exit is clean, nothing is lost',
  async (signal) => {
    const world = await World.start();
    const daemon = world.daemon();
    await daemon.logged('leading');
    const client = await world.live();
    let open: () => void = () => undefined;
    world.posts.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    await world.sql('insert into messages (content) select n::text from generate_series(1, 50) n');
    await expect.poll(() => world.posts.posts).toBeGreaterThan(1);
    daemon.process.kill(signal);
    await world.sql(`insert into messages (content) values ('while stopping')`);
    open();
    expect(await daemon.exited).toBe(0);
    expect(contents(client.events).slice(0, 50)).toEqual(numbers(50));
    await world.relay();
    await client.received(51);
    expect(contents(client.events)).toEqual([...numbers(50), 'while stopping']);
  },
);

test('kill -9 in the middle of a window: the next relay delivers the rest', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql('insert into messages (content) select n::text from generate_series(1, 300) n');
  await client.received(20);
  daemon.process.kill('SIGKILL');
  await daemon.exited;
  await world.relay();
  await client.received(300);
  // At least once, and after each other: whoever drops what it has seen is left with the order.
  expect([...new Set(contents(client.events))]).toEqual(numbers(300));
});

test.each([{ status: 429 }, { status: 500 }, { status: 503 }, { status: 403 }, 'reset', 'hang'] as const)(
  'a gateway that answers %j for a while: everything arrives afterwards, in order',
  async (fault) => {
    const world = await World.start();
    const relay = await world.relay();
    const client = await world.live();
    world.posts.fault = () => fault;
    for (const n of numbers(5)) await world.sql('insert into messages (content) values ($1)', [n]);
    await once(relay, 'posted');
    world.posts.fault = () => null;
    await client.received(5);
    expect([...new Set(contents(client.events))]).toEqual(numbers(5));
  },
);

test('one connection that cannot be served delays nobody, and is closed so that its client resumes', async () => {
  const world = await World.start();
  const relay = await world.relay({ deliveryDeadlineMs: 300 });
  const [sick, healthy] = await Promise.all([world.live({ userId: 'sick' }), world.live({ userId: 'healthy' })]);
  const sickId = String((await world.table.items()).find(({ userId }) => userId === 'sick')?.connectionId);
  world.posts.fault = ({ method, connectionId }) =>
    method === 'POST' && connectionId === sickId ? { status: 429 } : null;
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

test('one slow connection falls behind, goes on from the log, and delays nobody else', async () => {
  const world = await World.start();
  const relay = await world.relay({ maxBytesInFlight: 20_000, pageRows: 20 });
  const [fast, other, slow] = await Promise.all([
    world.live({ batch: '1' }),
    world.live({ batch: '1' }),
    world.live({ userId: 'slow' }),
  ]);
  const slowId = String((await world.table.items()).find(({ userId }) => userId === 'slow')?.connectionId);
  world.posts.fault = ({ connectionId }) => (connectionId === slowId ? { status: 429 } : null);
  const behind = once(relay, 'behind');
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 500) n`);
  await Promise.all([fast, other].map((client) => client.received(500)));
  expect((await behind)[0]).toMatchObject({ connectionId: slowId });
  expect(slow.events).toEqual([]);
  // The others are long past; a relay that took over now would have to know what this one lacks.
  const cursor = () => world.sql<{ snapshot: string }>('select snapshot::text from rowcast.cursor');
  const waiting = await cursor();
  for (let n = 501; n <= 510; n++) {
    await world.sql('insert into messages (content) values ($1)', [String(n)]);
    await Promise.all([fast, other].map((client) => client.received(n)));
  }
  expect(await cursor()).toEqual(waiting);
  world.posts.fault = () => null;
  await slow.received(510);
  expect([...new Set(contents(slow.events))]).toEqual(numbers(510));
  await expect.poll(cursor).not.toEqual(waiting);
  await world.sql(`insert into messages (content) values ('live again')`);
  await slow.frame(({ data }) => data?.content === 'live again');
});

test('a transaction that stays open for long does not make clients that come back hear everything again', async () => {
  const world = await World.start();
  await world.relay();
  const slow = await world.database.client();
  await slow.query('begin');
  await slow.query(`insert into messages (content) values ('slow')`);
  const client = await world.live();
  let cursor: string | undefined;
  for (const n of numbers(20)) {
    await world.sql('insert into messages (content) values ($1)', [n]);
    cursor = (await client.frame(({ data }) => data?.content === n)).cursor;
  }
  await client.close();
  await world.sql(`insert into messages (content) values ('missed')`);
  const back = await world.live({ cursor: cursor as string });
  expect(contents(back.events)).not.toContain('10');
  expect(contents(back.events)).toContain('missed');
  await slow.query('commit');
  slow.release();
  await back.frame(({ data }) => data?.content === 'slow');
});

test.each(['0', '00', '5-3-9', '1-999999999999999999', '999999999999999999'])(
  "a cursor of somebody's own making (%s) troubles nobody else",
  async (made) => {
    const world = await World.start();
    const relay = await world.relay();
    const victim = await world.live();
    const tag = String((await victim.ready()).cursor).split('.')[1];
    const roles: string[] = [];
    relay.on('role', (role) => roles.push(role));
    const forger = await world.live({ cursor: `${made}.${tag}` });
    await world.sql(`insert into messages (content) values ('x')`);
    await Promise.all([victim, forger].map((client) => client.received(1)));
    expect(roles).toEqual([]);
  },
);

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
