import { once } from 'node:events';
import { expect, test } from 'vitest';
import { parseCursor } from '../../../src/protocol/cursor.ts';
import { World } from '../../support/world.ts';

const quick = { retention: { keep: '1 hour', keepUndelivered: '1 day', intervalMs: 100 } };
/** Makes what is in the log as old as that. */
const age = (world: World, by: string) =>
  world.sql('update rowcast.event set occurred_at = occurred_at - $1::interval', [by]);
const rows = async (world: World) =>
  Number((await world.sql<{ n: string }>('select count(*) as n from rowcast.event'))[0]?.n);
const floorOf = async (world: World) =>
  BigInt(
    (await world.sql<{ floor: string }>('select floor from rowcast.installation'))[0]?.floor ?? 0,
  );

/** A cursor at which no transaction from before was open, of another test on this server either. */
async function cursorSince(world: World, xid: bigint): Promise<string> {
  await world.sql(`insert into messages (content) values ('a place further on')`);
  const { cursor } = await (await world.live()).ready();
  const place = parseCursor(cursor as string)?.snapshot;
  return place && place.xmin >= xid ? (cursor as string) : cursorSince(world, xid);
}

test('delivered rows are removed after the retention time, younger ones stay, and a client from before is told', async () => {
  const world = await World.start();
  const relay = await world.relay(quick);
  const client = await world.live({ batch: '1' });
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 12000) n`);
  const old = (await client.received(12_000))[0]?.cursor as string;
  await age(world, '2 hours');
  await world.sql(`insert into messages (content) values ('young')`);
  await client.received(12_001);
  while ((await rows(world)) > 1) await once(relay, 'removed');
  expect(await rows(world)).toBe(1);

  const [away, recent] = await Promise.all([
    world.live({ cursor: old }),
    world.live({ cursor: (await client.ready()).cursor as string }),
  ]);
  expect(await away.ready()).toMatchObject({ recovered: false });
  expect(await recent.ready()).toMatchObject({ recovered: false });
  const fresh = await world.live({ cursor: await cursorSince(world, await floorOf(world)) });
  expect(await fresh.ready()).toMatchObject({ recovered: true });
});

test('a transaction older than what was removed, open at a cursor and over since, may have had rows among it', async () => {
  const [world, elsewhere] = await Promise.all([World.start(), World.start()]);
  const relay = await world.relay(quick);
  const client = await world.live();
  const open = await elsewhere.database.client();
  await open.query('begin');
  await open.query(`insert into messages (content) values ('of another database')`);
  await world.sql(`insert into messages (content) values ('removed')`);
  await client.received(1);
  await age(world, '2 hours');
  while ((await rows(world)) > 0) await once(relay, 'removed');
  const { cursor } = await (await world.live()).ready();
  await open.query('commit');
  open.release();
  await cursorSince(world, await floorOf(world));
  const late = await world.live({ cursor: cursor as string });
  expect(await late.ready()).toMatchObject({ recovered: false });
});

test('rows that cannot be delivered outlive the retention time, and arrive', async () => {
  const world = await World.start();
  const first = await world.relay(quick);
  const client = await world.live();
  await first.stop();
  await world.sql(`insert into messages (content) values ('waited')`);
  await age(world, '2 hours');
  world.posts.fault = () => ({ status: 503 });
  const relay = await world.relay(quick);
  await once(relay, 'gateway');
  expect(await rows(world)).toBe(1);
  world.heal();
  await client.received(1);
});

test('rows beyond the limit are removed undelivered, and every client is told to fetch again', async () => {
  const world = await World.start();
  const first = await world.relay(quick);
  const client = await world.live();
  await first.stop();
  await world.sql(`insert into messages (content) values ('too late')`);
  await age(world, '2 days');
  world.posts.fault = () => ({ status: 503 });
  const relay = world.makeRelay(quick);
  const lost = once(relay, 'lost');
  await relay.start();
  expect(await lost).toEqual([1]);
  expect(await rows(world)).toBe(0);
  world.heal();
  await client.frame(({ type, recovered }) => type === 'READY' && recovered === false);
});

test('clients hear of rows that were removed undelivered though no relay was left to say so', async () => {
  const world = await World.start();
  const relay = await world.relay(quick);
  const client = await world.live();
  await relay.stop();
  await world.sql(`insert into messages (content) values ('too late')`);
  await age(world, '2 days');
  // As a relay does that ends in this moment.
  const [row] = await world.sql<{ undelivered: number }>(
    `select undelivered from rowcast.remove_old('1 hour', '1 day', 100)`,
  );
  expect(row?.undelivered).toBe(1);
  await world.relay(quick);
  await client.frame(({ type, recovered }) => type === 'READY' && recovered === false);
});

test('removing rows never makes a writer wait', async () => {
  const world = await World.start();
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 8000) n`);
  const writer = await world.database.client();
  await writer.query('begin');
  await writer.query(`insert into messages (content) values ('open')`);
  await age(world, '2 days');
  const relay = await world.relay(quick);
  await once(relay, 'removed');
  await writer.query(`set local lock_timeout = '10ms'`);
  await writer.query(`insert into messages (content) values ('still writing')`);
  await writer.query('commit');
  writer.release();
});
