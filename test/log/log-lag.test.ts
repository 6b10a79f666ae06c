import { once } from 'node:events';
import { expect, test } from 'vitest';
import { LogLag } from '../../src/log/log-lag.ts';
import { Session } from '../../src/postgres/session.ts';
import { World } from '../support/world.ts';

test('lag is what was committed and not delivered: it grows while the gateway is away, and is nothing after', async () => {
  const world = await World.start();
  const session = await Session.open({
    database: { connectionString: world.database.url },
    applicationName: 'test',
    queryTimeoutMs: 5000,
  });
  const lag = new LogLag(session);
  // The queue is the whole server's, which other tests share.
  const nothing = {
    events: 0,
    backlog: 0,
    seconds: 0,
    notificationQueueUsage: expect.any(Number),
    logBytes: expect.any(Number),
  };
  expect(await lag.measure()).toEqual(nothing);
  const [before] = await world.sql<{ snapshot: string }>(
    'select snapshot::text from rowcast.cursor',
  );
  const relay = await world.relay();
  const client = await world.live();
  world.posts.fault = () => ({ status: 503 });
  const late = await world.database.client();
  await late.query('begin');
  await late.query(`insert into messages (content) values ('of a transaction that is older')`);
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 20) n`);
  await expect.poll(async () => (await lag.measure()).events).toBe(20);
  await late.query('commit');
  late.release();
  const { events, seconds } = await lag.measure();
  expect(events).toBe(21);
  expect(seconds).toBeGreaterThan(0);
  world.heal();
  await client.received(21);
  await expect.poll(async () => (await lag.measure()).events).toBe(0);
  await relay.stop();
  // As a relay leaves it that has delivered half of a backlog's window.
  await world.sql(
    `update rowcast.cursor set snapshot = $1, until = snapshot, after_id = (select max(id) - 5 from rowcast.event), through_id = 21`,
    [before?.snapshot],
  );
  expect((await lag.measure()).events).toBe(5);
  await world.sql(
    'update rowcast.cursor set snapshot = until, until = null, after_id = null, through_id = null',
  );
  await session.close();
  const next = world.makeRelay();
  const measured = once(next, 'lag');
  await next.start();
  expect(await measured).toEqual([nothing]);
});
