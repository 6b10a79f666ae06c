import { once } from 'node:events';
import { expect, test } from 'vitest';
import type { TestClient } from '../support/client/client.ts';
import { contents } from '../support/client/contents.ts';
import { World } from '../support/world.ts';

const closed = (client: TestClient) => once(client.socket, 'close');
const say = (world: World, content: string) =>
  world.sql('insert into messages (content) values ($1)', [content]);

test('rowcast.disconnect() closes a user’s connections after what was committed before, with its reason, and nobody else’s', async () => {
  const world = await World.start();
  await world.relay();
  const [phone, laptop, other] = await Promise.all([
    world.live({ userId: '42', batch: '1' }),
    world.live({ userId: '42' }),
    world.live({ userId: '7' }),
  ]);
  const over = Promise.all([phone, laptop].map(closed));
  const client = await world.database.client();
  await client.query('begin');
  await client.query(`select rowcast.send_to_user(42, 'goodbye', '{}')`);
  await client.query(`select rowcast.disconnect('user:42', 'the account is closed')`);
  await client.query(`select rowcast.broadcast('after', '{}')`);
  await client.query('commit');
  client.release();
  await over;
  for (const each of [phone, laptop])
    expect(
      each.frames.slice(1).map(({ type, ...frame }) => [type, 'reason' in frame && frame.reason]),
    ).toEqual([
      ['goodbye', false],
      ['DISCONNECT', 'the account is closed'],
    ]);
  await other.frame(({ type }) => type === 'after');
  await expect.poll(async () => (await world.table.items()).length).toBe(1);
});

test('whoever comes back with his cursor after a disconnect stays, and has missed nothing', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live({ userId: '42' });
  const { cursor } = await client.ready();
  const over = closed(client);
  await world.sql(`select rowcast.disconnect('all')`);
  await over;
  await say(world, 'meanwhile');
  const back = await world.live({ userId: '42', cursor: cursor as string });
  await say(world, 'later');
  await back.received(2);
  expect(contents(back.events)).toEqual(['meanwhile', 'later']);
  expect(back.frames.map(({ type }) => type)).not.toContain('DISCONNECT');
});

test('a connection that is still being replayed to hears what was before a disconnect, and nothing after it', async () => {
  const world = await World.start();
  const client = await world.connect({ userId: '42' });
  const over = closed(client);
  await say(world, 'before');
  await world.sql(`select rowcast.disconnect('user:42')`);
  await say(world, 'after');
  await world.relay();
  await over;
  expect(contents(client.events)).toEqual(['before']);
  expect(client.frames.at(-1)?.type).toBe('DISCONNECT');
});

test('a client that takes nothing is closed all the same, by the next leader where the first one dies', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const client = await world.live({ userId: '42' });
  const witness = await world.live({ userId: '7' });
  const over = closed(client);
  const id = await world.idOf('42');
  // Neither a post nor the request that would close it gets an answer.
  world.posts.fault = ({ connectionId }) => (connectionId === id ? { status: 503 } : null);
  await say(world, 'before');
  await world.sql(`select rowcast.disconnect('user:42')`);
  await say(world, 'after');
  await witness.received(2);
  // The cursor's row has passed it all, and names the one that is being closed.
  await expect.poll(() => world.passed()).toBe(3);
  await daemon.kill();
  world.heal();
  await world.relay();
  await over;
  expect(contents(client.events)).not.toContain('after');
  expect(contents(witness.events)).toEqual(['before', 'after']);
});

test('who may send may not disconnect until that is granted; what is no term or too long a reason is refused', async () => {
  const world = await World.start();
  const app = `app_${Math.random().toString(36).slice(2)}`;
  const client = await world.database.client();
  await client.query(`create role ${app}`);
  try {
    await client.query(`grant usage on schema rowcast to ${app}`);
    await client.query(`set role ${app}`);
    const call = () => client.query(`select rowcast.disconnect('user:42')`);
    await expect(call()).rejects.toThrow(/permission denied for function disconnect/);
    await client.query('reset role');
    await client.query(`grant execute on function rowcast.disconnect(text, text) to ${app}`);
    await client.query(`set role ${app}`);
    await call();
    await client.query('reset role');
  } finally {
    await client.query(`drop owned by ${app}`);
    await client.query(`drop role ${app}`);
    client.release();
  }
  for (const [call, problem] of [
    [`'user 42'`, /is not an audience term/],
    [`null`, /NULL is not an audience term/],
    [`'!user:42'`, /reaches nobody/],
    [`'all', repeat('x', 201)`, /reason has 201 bytes/],
  ] as const)
    await expect(world.sql(`select rowcast.disconnect(${call})`)).rejects.toThrow(problem);
  await expect(world.sql(`select rowcast.send('DISCONNECT', '{}')`)).rejects.toThrow(/own/);
});
