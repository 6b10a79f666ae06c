import { once } from 'node:events';
import { expect, test } from 'vitest';
import type { Snapshot } from '../../../src/log/snapshot.ts';
import { World } from '../../support/world.ts';

test('a leader that is killed is followed by the standby', async () => {
  const world = await World.start();
  const leader = world.daemon();
  await leader.logged('leading');
  const standby = await world.relay();
  expect(standby.role).toBe('standby');
  const client = await world.live();
  const leads = once(standby, 'role');
  leader.process.kill('SIGKILL');
  await world.sql(`insert into messages (content) values ('after the kill')`);
  expect(await leads).toEqual(['leader']);
  await client.received(1);
});

test('a leader that is frozen is replaced, and delivers nothing when it wakes', async () => {
  const world = await World.start();
  const frozen = world.daemon();
  await frozen.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('1')`);
  await client.received(1);
  // Once it is committed that the client was served, no relay that takes over replays to it.
  const waitsForIt = async () => (await world.exceptions()).pinned.size;
  await expect.poll(waitsForIt).toBe(0);
  // Posts that wait in the frozen leader: it must not send them when it wakes.
  let open: () => void = () => undefined;
  world.posts.gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  await world.sql(
    `insert into messages (content) select 'held ' || n from generate_series(1, 20) n`,
  );
  await expect.poll(() => world.posts.posts - world.posts.passed).toBe(1);
  frozen.process.kill('SIGSTOP');
  open();
  const standby = world.makeRelay();
  await standby.start();
  while (standby.role !== 'leader') await once(standby, 'role');
  await client.received(21);
  expect(client.frames.filter(({ type }) => type === 'READY')).toHaveLength(1);
  const posts = world.posts.posts;
  const before = client.events.length;
  frozen.process.kill('SIGCONT');
  await frozen.logged('standby');
  await world.sql(`insert into messages (content) values ('last')`);
  await client.frame(({ data }) => data?.content === 'last');
  expect(client.events.length).toBe(before + 1);
  expect(world.posts.posts).toBe(posts + 1);
});

test('a leader that lost its lease cannot commit: what it had in flight is delivered by the next', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('committed')`);
  await once(relay, 'committed');
  const committed: Snapshot[] = [];
  relay.on('committed', ({ snapshot }) => committed.push(snapshot));
  world.posts.fault = () => ({ status: 500 });
  await world.sql(`insert into messages (content) values ('in flight')`);
  await once(relay, 'posted');
  // The next leader may commit at once: a connection that joins gets the row by its replay.
  const ofThisLeader = new Promise<Snapshot[]>((resolve) =>
    relay.once('role', () => resolve([...committed])),
  );
  await world.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowcast lease%' and datname = current_database()`,
  );
  const snapshots = await ofThisLeader;
  const [row] = await world.sql<{ xid: string }>(
    'select xid::text from rowcast.event order by id desc limit 1',
  );
  expect(snapshots.some((snapshot) => snapshot.sees(BigInt(row?.xid as string)))).toBe(false);
  world.heal();
  await client.frame(({ data }) => data?.content === 'in flight');
});
