import { once } from 'node:events';
import { expect, test } from 'vitest';
import { World } from '../support/world.ts';

test('inserts, updates and deletes on both tables arrive as the six types, with every digit', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  await world.sql(
    `insert into messages (id, sender, content) overriding system value values (9007199254740993, 'alice', 'hello')`,
  );
  await world.sql(`update messages set status = 'read'`);
  await world.sql('delete from messages');
  await world.sql(`insert into complaints (title) values ('noise')`);
  await world.sql(`update complaints set status = 'closed'`);
  await world.sql('delete from complaints');

  const frames = await client.received(6);

  expect(frames.map(({ type }) => type)).toEqual([
    'NEW_MESSAGE',
    'UPDATE_MESSAGE',
    'DELETE_MESSAGE',
    'NEW_COMPLAINT',
    'UPDATE_COMPLAINT',
    'DELETE_COMPLAINT',
  ]);
  expect(frames[0]).toEqual({
    id: expect.stringMatching(/^\d+$/),
    type: 'NEW_MESSAGE',
    data: expect.objectContaining({ sender: 'alice', content: 'hello', status: 'sent' }),
    timestamp: expect.any(Number),
    tx: expect.stringMatching(/^\d+$/),
    cursor: expect.stringMatching(/^\d+(-\d+)*~[\w-]{16}\.[0-9a-f]{8}$/),
  });
  expect(frames[1]?.data).toMatchObject({ status: 'read' });
  expect(frames[2]?.data).toMatchObject({ status: 'read' });
  expect(client.messages.find((text) => text.includes('NEW_MESSAGE'))).toContain(
    '"data":{"id":9007199254740993,',
  );
});

test('a truncate is one event without data', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  await world.sql('truncate messages');
  expect(await client.frame(({ type }) => type === 'TRUNCATE_MESSAGE')).toMatchObject({
    data: null,
  });
});

test('a client is told READY once, with a cursor', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.connect();
  expect(await client.ready()).toEqual({
    type: 'READY',
    cursor: expect.any(String),
    recovered: true,
  });
});

test('a statement over 100,000 rows arrives whole and in order, by one notification', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const asleep = once(relay, 'asleep');
  const client = await world.live({ batch: '1' });
  const listener = await world.database.client();
  await listener.query('listen rowcast_messages');
  let rings = 0;
  listener.on('notification', () => rings++);
  await asleep;

  await world.sql(
    `insert into messages (content) select 'row ' || n from generate_series(1, 100000) n`,
  );

  const frames = await client.received(100_000);
  expect(frames.map(({ data }) => Number(data?.id))).toEqual(
    Array.from({ length: 100_000 }, (_, i) => i + 1),
  );
  expect(rings).toBeLessThanOrEqual(1);
  listener.release();
});

test('a sleeping relay is rung, and an awake one is not', async () => {
  const world = await World.start();
  const timing = {
    collectMs: 10,
    stayAwakeMs: 200,
    pollIntervalMs: 600_000,
    deafPollIntervalMs: 100,
    idleCommitIntervalMs: 30_000,
  };
  const relay = await world.relay({ timing });
  const asleep = once(relay, 'asleep');
  const client = await world.live();
  const listener = await world.database.client();
  await listener.query('listen rowcast_messages');
  let rings = 0;
  listener.on('notification', () => rings++);
  await asleep;
  // Nothing but a ring would bring this one within ten minutes.
  await world.sql(`insert into messages (content) values ('rings')`);
  await client.received(1);
  for (let n = 2; n <= 20; n++) {
    await world.sql(`insert into messages (content) values ('quiet')`);
    await client.received(n);
  }
  listener.release();
  expect(rings).toBeGreaterThanOrEqual(1);
  expect(rings).toBeLessThan(20);
});

test('a row of a megabyte does not fail its writer and arrives as its key', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  await world.sql(`insert into messages (content) values (repeat('x', 1000000))`);
  const frame = await client.frame(({ type }) => type === 'NEW_MESSAGE');
  expect(frame).toMatchObject({ truncated: true, data: { id: 1 } });
  expect(Object.keys(frame.data ?? {})).toEqual(['id']);
});

test('a writer without any right on schema rowcast is heard', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  const writer = `writer_${world.table.table}`;
  await world.sql(`create role ${writer}`);
  await world.sql(`grant insert, select on messages to ${writer}`);
  const session = await world.database.client();
  await session.query(`set role ${writer}`);
  await expect(session.query('select * from rowcast.event')).rejects.toThrow(/permission denied/);
  await session.query(`insert into messages (content) values ('from nobody')`);
  await session.query('reset role');
  session.release();
  expect((await client.received(1))[0]?.data).toMatchObject({ content: 'from nobody' });
  await world.sql(`revoke all on messages from ${writer}`);
  await world.sql(`drop role ${writer}`);
});

test('rolled back work is never seen, and a message of send() is', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live({ userId: '42' });
  const session = await world.database.client();
  await session.query('begin');
  await session.query(`insert into messages (content) values ('undone')`);
  await session.query('savepoint s');
  await session.query(`insert into messages (content) values ('undone too')`);
  await session.query('rollback');
  session.release();
  await world.sql(`select rowcast.send_to_user('42', 'upload_progress', '{"percent": 1.50}')`);
  const frame = await client.frame(({ type }) => type === 'upload_progress');
  expect(client.events).toEqual([frame]);
  expect(client.messages.at(-1)).toContain('"data":{"percent": 1.50}');
});

test('an event reaches the connections of its audience and nobody else', async () => {
  const world = await World.start();
  await world.relay();
  const [bob, bobsPhone, eve, admin] = await Promise.all([
    world.live({ userId: 'bob' }),
    world.live({ userId: 'bob' }),
    world.live({ userId: 'eve', rooms: 'lobby' }),
    world.live({ userId: 'ada', roles: 'admin', rooms: 'lobby,office' }),
  ]);
  await world.sql(`select rowcast.send('direct', '1', '{user:bob}')`);
  await world.sql(`select rowcast.send('union', '2', '{room:lobby,role:admin,user:eve}')`);
  await world.sql(`select rowcast.broadcast('all', '3')`);
  await Promise.all(
    [bob, bobsPhone, eve, admin].map((client) => client.frame(({ type }) => type === 'all')),
  );
  const types = (client: typeof bob) => client.events.map(({ type }) => type);
  expect(types(bob)).toEqual(['direct', 'all']);
  expect(types(bobsPhone)).toEqual(['direct', 'all']);
  expect(types(eve)).toEqual(['union', 'all']);
  expect(types(admin)).toEqual(['union', 'all']);
});

test('a table is watched with one call, and the running relay picks it up', async () => {
  const world = await World.start();
  await world.relay();
  const [owner, other] = await Promise.all([
    world.live({ userId: 'bob' }),
    world.live({ userId: 'eve' }),
  ]);
  await world.sql('create table "Odd Orders" ("Id" bigint primary key, buyer text, secret text)');
  await world.sql(
    `select rowcast.watch('"Odd Orders"', entity => 'order', audience => '{user:<buyer>}', columns => '{Id,buyer}', include_old => true)`,
  );
  await world.sql(`insert into "Odd Orders" values (1, 'bob', 'hidden')`);
  await world.sql(`update "Odd Orders" set secret = 'still hidden'`);
  await world.sql(`update "Odd Orders" set buyer = 'eve'`);
  await world.sql(`delete from "Odd Orders"`);

  await other.received(2);
  expect((await owner.received(2)).map(({ type, data, old }) => ({ type, data, old }))).toEqual([
    { type: 'NEW_ORDER', data: { Id: 1, buyer: 'bob' }, old: undefined },
    { type: 'UPDATE_ORDER', data: { Id: 1, buyer: 'eve' }, old: { Id: 1, buyer: 'bob' } },
  ]);
  expect(other.events.map(({ type }) => type)).toEqual(['UPDATE_ORDER', 'DELETE_ORDER']);
});

test('a table that is watched while the relay sleeps can wake it', async () => {
  const world = await World.start();
  const timing = {
    collectMs: 10,
    stayAwakeMs: 50,
    pollIntervalMs: 600_000,
    deafPollIntervalMs: 100,
    idleCommitIntervalMs: 30_000,
  };
  const relay = world.makeRelay({ timing });
  let sleeping = false;
  relay.on('asleep', () => {
    sleeping = true;
  });
  relay.on('awake', () => {
    sleeping = false;
  });
  const asleep = () => expect.poll(() => sleeping).toBe(true);
  await relay.start();
  const client = await world.live();
  for (const name of ['one', 'two']) {
    await asleep();
    await world.sql(`create table ${name} (id int primary key)`);
    await world.sql(`select rowcast.watch('${name}')`);
    await world.sql(`insert into ${name} values (1)`);
    await client.frame(({ type }) => type === `NEW_${name.toUpperCase()}`);
  }
  await asleep();
  // Nothing but a ring on the new channel would bring this one within ten minutes.
  await world.sql('insert into one values (2)');
  await client.received(3);
});

test('a client that asked for batches gets what waits as one frame', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live({ batch: '1' });
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 100) n`);
  await client.received(100);
  expect(client.messages.filter((text) => text.includes('NEW_MESSAGE')).length).toBeLessThan(10);
  expect(Math.max(...client.messages.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(
    32_000,
  );
});
