import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { World } from '../../support/world.ts';

test('a relay stops at whatever moment of its start it is told to, and stopping twice is no error', async () => {
  const world = await World.start();
  for (let delayMs = 0; delayMs < 60; delayMs += 3) {
    const relay = world.makeRelay();
    const starting = relay.start();
    await setTimeout(delayMs);
    await Promise.all([relay.stop(), relay.stop()]);
    await starting;
    expect(relay.role).toBe('stopped');
  }
  await expect
    .poll(() =>
      world.sql(
        `select application_name from pg_stat_activity where application_name like 'rowcast %' and datname = current_database()`,
      ),
    )
    .toEqual([]);
});

test('a relay holds five connections, however many tables are watched and however often somebody notifies', async () => {
  const world = await World.start();
  await world.relay();
  const held = async () => {
    const [row] = await world.sql<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where application_name like 'rowcast %' and datname = current_database()`,
    );
    return row?.n ?? 0;
  };
  let most = 0;
  const started = await world.sql<{ pid: number }>(pids);
  for (let n = 0; n < 200; n++) {
    await world.sql(`create table t${n} (id int primary key)`);
    await world.sql(`select rowcast.watch('t${n}', entity => 't')`);
    most = Math.max(most, await held());
  }
  await world.sql(`select pg_notify('rowcast_control', n::text) from generate_series(1, 5000) n`);
  const client = await world.live();
  await world.sql('insert into t199 values (1)');
  await client.received(1);
  most = Math.max(most, await held());
  expect(most).toBeLessThanOrEqual(5);
  // The sessions are the same ones: none was opened in the place of another.
  expect(await world.sql(pids)).toEqual(started);
});
const pids = `select pid from pg_stat_activity where application_name like 'rowcast %' and datname = current_database() order by pid`;

test('a relay that is started twice is started once', async () => {
  const world = await World.start();
  const relay = world.makeRelay();
  await Promise.all([relay.start(), relay.start()]);
  expect(relay.role).toBe('leader');
});

test('a relay that cannot deliver what is in flight stops at its deadline, and the next one delivers it', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  const dispatched = once(relay, 'dispatched');
  world.posts.fault = () => 'hang';
  await world.sql(`insert into messages (content) values ('in flight')`);
  await dispatched;
  await relay.stop();
  world.heal();
  await world.relay();
  await client.received(1);
});
