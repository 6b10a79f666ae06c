import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import pg from 'pg';
import { expect, inject, onTestFinished, test } from 'vitest';
import { World } from '../../support/world.ts';

test("a copy of a database pushes nothing to the original's clients until it is adopted", async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  await relay.stop();
  await world.sql(`insert into messages (content) values ('pending in the original')`);
  const copy = `${inject('template')}_copy_${randomBytes(4).toString('hex')}`;
  const admin = new pg.Client(inject('adminUrl'));
  await admin.connect();
  await world.database.disconnect();
  await admin.query(
    `create database ${copy} template ${new URL(world.database.url).pathname.slice(1)}`,
  );
  const url = Object.assign(new URL(world.database.url), { pathname: `/${copy}` }).href;
  onTestFinished(() => admin.end());

  const daemon = world.daemon({ DATABASE_URL: url });
  expect((await daemon.logged('database_copied')).msg).toMatch(/select rowcast\.adopt\(\)/);
  const { port } = await daemon.logged('starting');
  const readiness = await fetch(`http://127.0.0.1:${port}/readyz`);
  expect([readiness.status, await readiness.text()]).toEqual([
    503,
    expect.stringContaining('is a copy'),
  ]);
  const session = new pg.Client(url);
  await session.connect();
  await session.query(`insert into messages (content) values ('in the copy')`);
  expect(world.posts.posts).toBe(1);

  await session.query('select rowcast.adopt()');
  await daemon.logged('leading');
  await session.query(`insert into messages (content) values ('adopted')`);
  await session.end();
  expect((await client.received(1))[0]?.data).toMatchObject({ content: 'adopted' });
  const back = await world.live({ cursor: (await client.ready()).cursor as string });
  expect(await back.ready()).toMatchObject({ recovered: false });
});

test('a cursor of transactions that never were is noticed, and delivery starts over from now', async () => {
  const world = await World.start();
  await world.sql(`update rowcast.cursor set snapshot = '9000000000:9000000000:'`);
  const before = await world.connect();
  const daemon = world.daemon();
  await daemon.logged('cursor_void');
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('after')`);
  await client.received(1);
  expect(await before.ready()).toMatchObject({ recovered: false });
});

test('after pg_upgrade delivery can go on where it was', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  await relay.stop();
  await world.sql(`update rowcast.installation set identity = 'the old cluster'`);
  await world.sql(`insert into messages (content) values ('across the upgrade')`);
  await world.sql('select rowcast.adopt(keep_cursor => true)');
  const next = world.makeRelay();
  const leads = once(next, 'role');
  await next.start();
  await leads;
  await client.received(1);
});

test.each(['adopt', 'refetch'] as const)(
  'rowcast.%s() under a relay that leads: every client is told to fetch again',
  async (call) => {
    const world = await World.start();
    await world.relay();
    const [connected, away] = await Promise.all([world.live(), world.live()]);
    const { cursor } = await away.ready();
    await away.close();
    await world.sql(`select rowcast.${call}()`);
    await connected.frame(({ type, recovered }) => type === 'READY' && recovered === false);
    const back = await world.live({ cursor: cursor as string });
    expect(await back.ready()).toMatchObject({ recovered: false });
    await world.sql(`insert into messages (content) values ('after')`);
    await Promise.all(
      [connected, back].map((client) => client.frame(({ data }) => data?.content === 'after')),
    );
    const { cursor: valid } = await back.ready();
    const again = await world.live({ cursor: valid as string });
    expect(await again.ready()).toMatchObject({ recovered: true });
    // Clocks may differ a little: who connects within two seconds is told once more.
    await expect.poll(async () => (await (await world.live()).ready()).recovered).toBe(true);
  },
);

test('events that wait when clients have to fetch again are delivered all the same', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  await relay.stop();
  await world.sql(`insert into messages (content) values ('waiting')`);
  await world.sql('select rowcast.refetch()');
  await world.relay();
  await client.frame(({ data }) => data?.content === 'waiting');
  await client.frame(({ type, recovered }) => type === 'READY' && recovered === false);
});

test('while nothing is written the record of who was served goes on: a relay that takes over replays no hours', async () => {
  const world = await World.start();
  const timing = {
    collectMs: 5,
    stayAwakeMs: 10,
    pollIntervalMs: 50,
    deafPollIntervalMs: 50,
    idleCommitIntervalMs: 50,
  };
  const relay = await world.relay({ timing });
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 100) n`);
  const servedUntil = async () => {
    const [row] = await world.sql<{ ms: number }>(
      'select (extract(epoch from served_until) * 1000)::float8 as ms from rowcast.cursor',
    );
    return row?.ms as number;
  };
  const before = await servedUntil();
  await once(relay, 'asleep');
  // Nothing more is written; the record of who was served goes on. Served is who connected half a
  // minute ago or more.
  await expect.poll(servedUntil).toBeGreaterThan(before);
});

test('a schema that was restored without its data is told as such, and not taken for a lost database', async () => {
  const world = await World.start();
  await world.sql('delete from rowcast.cursor');
  const daemon = world.daemon();
  expect((await daemon.logged('database_empty')).msg).toMatch(
    /drop schema rowcast cascade, then rowcast migrate up/,
  );
  const { port } = await daemon.logged('starting');
  const readiness = await fetch(`http://127.0.0.1:${port}/readyz`);
  expect([readiness.status, await readiness.text()]).toEqual([
    503,
    expect.stringContaining('without its data'),
  ]);
  expect(daemon.stdout.join()).not.toContain('database_lost');
});
