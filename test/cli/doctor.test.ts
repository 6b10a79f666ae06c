import { expect, test } from 'vitest';
import { command, leaderOf } from '../support/process/command.ts';
import { doctor } from '../support/process/doctor.ts';
import { World } from '../support/world.ts';

test('a healthy system has no problem, and an event goes through the whole path', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  // With so many, the first item of the table is hardly ever the probe's.
  const others = await Promise.all(Array.from({ length: 20 }, () => world.live()));
  const { code, problems, ok } = await doctor(
    env,
    '--url',
    `${world.gateway.websocketUrl}?userId=doctor`,
  );
  expect(problems).toEqual({});
  expect(code).toBe(0);
  expect(Object.keys(ok)).toEqual(
    expect.arrayContaining([
      'settings: settings',
      'database: reachable',
      'database: primary',
      'database: session settings',
      'database: replication role',
      'database: doorbell',
      'database: migrations',
      'database: rights',
      'capture: installation',
      'capture: messages',
      'capture: complaints',
      'relay: leader',
      'relay: lag',
      'aws: gateway',
      'aws: table',
      'clocks: gateway',
      'clocks: database',
      'probe: connect',
      'probe: stored',
      'probe: ready',
      'probe: relay',
      'probe: received',
    ]),
  );
  expect(ok['probe: received']).toMatch(/^the frame arrived \d+ ms after the commit$/);
  // The probe is the doctor's own.
  for (const other of others) expect(other.frames.map(({ type }) => type)).toEqual(['READY']);
  const { output } = await command(['doctor'], env);
  expect(output).toMatch(/^ {2}✓ reachable/m);
  expect(output).toMatch(/\nno problem, \d+ warnings?$/);
});

test('each of many faults at once is named, with what to do', async () => {
  const world = await World.start();
  await world.sql('drop trigger "!rowcast_insert" on messages');
  await world.sql('alter table complaints disable trigger "!rowcast_update"');
  await world.sql(
    `create table "Orders, old" (id int primary key); select rowcast.watch('"Orders, old"')`,
  );
  await world.sql(`alter table "Orders, old" add column x int`);
  world.posts.clockOffsetMs = -60_000;
  const { code, problems } = await doctor({
    ...world.environment(),
    WEBSOCKET_ENDPOINT: world.environment().WEBSOCKET_ENDPOINT?.replace('/test', '/prod') as string,
    CONNECTIONS_TABLE: 'elsewhere',
  });
  expect(code).toBe(1);
  expect(problems).toEqual({
    'capture: messages': expect.stringMatching(
      /a trigger of public\.messages is missing or disabled.* DO select rowcast\.rewatch\('messages'\)/,
    ),
    'capture: complaints': expect.stringMatching(
      /a trigger of public\.complaints is missing or disabled/,
    ),
    'relay: leader': expect.stringMatching(/no relay leads.* DO start one: rowcast start/),
    'aws: gateway': expect.stringMatching(/WEBSOCKET_ENDPOINT answers 403: a wrong stage/),
    'aws: table': expect.stringMatching(/CONNECTIONS_TABLE elsewhere does not exist/),
    'clocks: gateway': expect.stringMatching(
      /the gateway is 5\d\.\d|60\.\d s behind this machine.* DO .*time server/,
    ),
  });
});

test('wrong settings are named one by one, and the database is looked at none the less', async () => {
  const world = await World.start();
  const { code, problems, ok, skipped } = await doctor({
    DATABASE_URL: world.database.url,
    WEBSOCKET_ENDPOINT: 'http://example.com/prod',
    POST_RPS_LIMIT: 'many',
  });
  expect(code).toBe(1);
  expect(problems).toMatchObject({
    'settings: WEBSOCKET_ENDPOINT': expect.stringMatching(/plain http/),
    'settings: AWS_REGION': expect.stringMatching(/is missing/),
    'settings: POST_RPS_LIMIT': expect.stringMatching(/is not a whole number/),
  });
  const mended = await doctor({
    ...world.environment(),
    PORT: 'abc',
    ROWCAST_INSPECT_PORT: '99999',
  });
  expect(Object.keys(mended.problems)).toEqual([
    'settings: PORT',
    'settings: ROWCAST_INSPECT_PORT',
    'relay: leader',
  ]);
  expect(mended.ok).toHaveProperty('aws: gateway');
  expect(ok).toHaveProperty('database: reachable');
  expect(skipped).toHaveProperty(['aws: gateway, table']);
});

test('a relay that runs and does not lead says why, and one that is frozen is told by its silence', async () => {
  const world = await World.start();
  const stuck = world.daemon({ CONNECTIONS_TABLE: 'elsewhere' });
  const { inspectPort } = await stuck.logged('starting');
  await stuck.logged('directory_scan_failed');
  const env = { ...world.environment(), ROWCAST_INSPECT_PORT: String(inspectPort) };
  const waiting = await doctor(env);
  expect(waiting.problems['relay: leader']).toMatch(/runs and does not lead/);
  expect(waiting.problems['relay: this relay']).toMatch(/table elsewhere/);
  await stuck.kill();
  const frozen = world.daemon();
  await frozen.logged('started');
  frozen.process.kill('SIGSTOP');
  await expect
    .poll(() =>
      world.sql(`select from pg_stat_activity where datname = current_database() and application_name like 'rowcast lease %'
        and state_change < clock_timestamp() - interval '10.5 s'`),
    )
    .toHaveLength(1);
  expect((await doctor(world.environment())).problems['relay: leader']).toMatch(
    /holds the lease and has been silent for 1\d s/,
  );
});
