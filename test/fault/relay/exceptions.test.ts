import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { expect, onTestFinished, test } from 'vitest';
import type { TestClient } from '../../support/client/client.ts';
import { contents, numbers } from '../../support/client/contents.ts';
import { World } from '../../support/world.ts';

/** Transactions that have an xid and stay open, so that every snapshot names them. */
async function openTransactions(world: World, count: number): Promise<void> {
  const sessions = await Promise.all(Array.from({ length: count }, () => world.database.client()));
  for (const session of sessions) {
    await session.query('begin');
    await session.query('select pg_current_xact_id()');
  }
  onTestFinished(async () => {
    for (const session of sessions) session.release(true);
  });
}

async function insert(world: World, contents: readonly string[]): Promise<void> {
  for (const content of contents)
    await world.sql('insert into messages (content) values ($1)', [content]);
}

/** Resolves once the row of the cursor is past every event. */
async function everythingCommitted(world: World): Promise<void> {
  const waiting = async () => {
    const [row] = await world.sql<{ count: string }>(
      'select count(*) from rowcast.event e, rowcast.cursor c where not pg_visible_in_snapshot(e.xid, c.snapshot)',
    );
    return Number(row?.count);
  };
  await expect.poll(waiting).toBe(0);
}

const is = (content: string) => (frame: { data?: Record<string, unknown> | null }) =>
  frame.data?.content === content;
const readies = (client: TestClient) => client.frames.filter(({ type }) => type === 'READY');

test('open transactions and one slow client, kill -9: it gets everything, and nobody else hears anything again', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const [slow, well] = await Promise.all([
    world.live({ userId: 'slow' }),
    world.live({ userId: 'well' }),
  ]);
  const slowId = await world.failing('slow', { status: 429 });
  await insert(world, ['1']);
  // From here on there are more transactions in flight than when the slow one began to lack
  // something.
  await openTransactions(world, 3);
  await insert(world, numbers(60).slice(1));
  await well.received(60);
  await expect
    .poll(async () =>
      [...(await world.exceptions()).pinned.keys()].some((name) => name.endsWith(slowId)),
    )
    .toBe(true);
  await everythingCommitted(world);
  await daemon.kill();
  world.heal();
  await world.relay();
  await insert(world, ['last']);
  await Promise.all([slow, well].map((client) => client.frame(is('last'))));
  expect([...new Set(contents(slow.events))]).toEqual([...numbers(60), 'last']);
  expect(contents(well.events)).toEqual([...numbers(60), 'last']);
  expect(readies(well)).toHaveLength(1);
});

test('a connection that two leaders in a row were still replaying to has everything, and READY, from the third', async () => {
  const world = await World.start();
  const first = world.daemon();
  await first.logged('leading');
  const well = await world.live({ userId: 'well' });
  const { cursor } = await well.ready();
  await insert(world, numbers(3));
  await well.received(3);
  const known = await world.idOf('well');
  world.posts.fault = ({ connectionId }) => (connectionId === known ? null : { status: 429 });
  const late = await world.connect({ userId: 'late', cursor: cursor as string });
  const lead = async (n: number) => {
    await insert(world, [String(n)]);
    await well.frame(is(String(n)));
    await everythingCommitted(world);
  };
  await lead(4);
  await first.kill();
  const second = world.daemon();
  await second.logged('leading');
  await lead(5);
  await second.kill();
  world.heal();
  await world.relay();
  expect(await late.ready()).toMatchObject({ recovered: true });
  expect([...new Set(contents(late.events))]).toEqual(numbers(5));
});

test('an item that is changed while its first replay waits is replayed to from its own cursor', async () => {
  const world = await World.start();
  await world.relay({ maxBytesInFlight: 20_000 });
  const [well, slow] = await Promise.all([
    world.live({ userId: 'well' }),
    world.live({ userId: 'slow' }),
  ]);
  const { cursor } = await well.ready();
  await insert(world, numbers(5));
  await Promise.all([well, slow].map((client) => client.received(5)));
  const known = new Set([await world.idOf('well')]);
  world.posts.fault = ({ connectionId }) => (known.has(connectionId) ? null : { status: 429 });
  const late = await world.connect({ userId: 'late', cursor: cursor as string });
  // Something lacks what the others have, and what is committed is past what the newcomer lacks.
  await insert(world, ['6']);
  await well.received(6);
  await world.table.client.send(
    new UpdateCommand({
      TableName: world.table.table,
      Key: { connectionId: await world.idOf('late') },
      UpdateExpression: 'set rooms = :rooms',
      ExpressionAttributeValues: { ':rooms': new Set(['lobby']) },
    }),
  );
  await insert(world, ['7']);
  await well.received(7);
  world.heal();
  await late.ready();
  expect([...new Set(contents(late.events))].slice(0, 7)).toEqual(numbers(7));
});

test('a client that is cut off in a replay that is not whole is told when it comes back', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  // Within the two seconds before it connects: a replay that has something to bring.
  await insert(world, numbers(3));
  await client.received(3);
  const foreign = String((await client.ready()).cursor).replace(/\.\w+$/, '.ffffffff');
  const first = await world.connect({ cursor: foreign });
  const [frame] = await first.received(1);
  first.socket.terminate();
  const again = await world.live({ cursor: frame?.cursor as string });
  expect(await again.ready()).toMatchObject({ recovered: false });
});

test('with a dozen transactions in flight a client that comes back hears nothing from before it first connected', async () => {
  const world = await World.start();
  await world.relay();
  await openTransactions(world, 12);
  await insert(world, ['doomed']);
  const other = await world.live();
  const { cursor } = await other.ready();
  const client = await world.live({ userId: 'ann', cursor: cursor as string });
  const { cursor: start } = await client.ready();
  await world.sql(`delete from messages where content = 'doomed'`);
  await client.frame(({ type }) => type === 'DELETE_MESSAGE');
  await client.close();
  const back = await world.live({ userId: 'ann', cursor: start as string });
  await insert(world, ['fence']);
  await back.frame(is('fence'));
  expect(back.events.map(({ type }) => type)).toEqual(['DELETE_MESSAGE', 'NEW_MESSAGE']);
  const again = await world.live({ userId: 'bob', cursor: back.events[0]?.cursor as string });
  expect(contents(again.events.filter(({ type }) => type === 'NEW_MESSAGE'))).toEqual(['fence']);
});

test('a takeover brings a client nothing from before it connected, however young it is', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const witness = await world.live();
  await insert(world, ['doomed']);
  await witness.frame(is('doomed'));
  // A replay without a cursor begins some two seconds before the connection: of those that come one
  // after the other, one is past the row, which has been dispatched by now.
  let client = await world.live();
  while (client.events.length > 0) client = await world.live();
  await world.sql(`delete from messages where content = 'doomed'`);
  await client.frame(({ type }) => type === 'DELETE_MESSAGE');
  await daemon.kill();
  await world.relay();
  await insert(world, ['fence']);
  await client.frame(is('fence'));
  expect(
    client.events.map(({ type }) => type).filter((type, i, all) => all.indexOf(type) === i),
  ).toEqual(['DELETE_MESSAGE', 'NEW_MESSAGE']);
  expect(contents(client.events.filter(({ type }) => type === 'NEW_MESSAGE'))).toEqual(['fence']);
});
