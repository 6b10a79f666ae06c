import { once } from 'node:events';
import { expect, test } from 'vitest';
import { contents, numbers } from '../../support/client/contents.ts';
import { World } from '../../support/world.ts';
import { Writers } from '../../support/writers.ts';

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

test.each([
  { status: 429 },
  { status: 500 },
  { status: 503 },
  { status: 403 },
  'reset',
  'hang',
] as const)(
  'a gateway that answers %j for a while: everything arrives afterwards, in order',
  async (fault) => {
    const world = await World.start();
    world.postTimeoutMs = 2000;
    const relay = await world.relay();
    const client = await world.live();
    world.posts.fault = () => fault;
    for (const n of numbers(5)) await world.sql('insert into messages (content) values ($1)', [n]);
    await once(relay, 'posted');
    world.heal();
    await client.received(5);
    expect([...new Set(contents(client.events))]).toEqual(numbers(5));
  },
);
