import { stripVTControlCharacters } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import type { Status } from '../../src/cli/status-screen.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import { stranger } from '../support/postgres/stranger.ts';
import { command, leaderOf } from '../support/process/command.ts';
import { runDaemon } from '../support/process/run-daemon.ts';
import { World } from '../support/world.ts';

test('status tells who leads and who stands by, what waits, what is watched and how it is sick', async () => {
  const world = await World.start();
  const leader = await leaderOf(world);
  const standby = await leaderOf(world);
  await world.live({ userId: 'ada' });
  await world.live({ userId: 'ada' });
  await world.sql('alter table complaints disable trigger "!rowcast_insert"');
  world.posts.fault = () => ({ status: 503 });
  await world.sql(`insert into messages (content) select 'row' from generate_series(1, 7)`);
  await leader.daemon.logged('gateway_down');

  const json = await command(['status', '--json'], leader.env);
  const { database, relay } = JSON.parse(json.output) as Status;
  expect(json.code).toBe(0);
  expect(database).toMatchObject({
    installed: true,
    standby: false,
    relays: [{ leads: true }, { leads: false }],
    lag: { events: 7, backlog: 7, seconds: expect.any(Number) },
    log: { events: expect.any(Number), bytes: expect.any(Number), spanSeconds: expect.any(Number) },
    watched: [
      {
        target: 'complaints',
        problem:
          "a trigger of public.complaints is missing or disabled; select rowcast.rewatch('complaints')",
      },
      { target: 'messages', problem: null },
    ],
  });
  expect(relay).toMatchObject({
    role: 'leader',
    connections: { known: 2, users: 1, feed: 'scan' },
    term: { lanesWaiting: 2, gatewayDown: true },
    posts: { delivered: 2, failed: expect.any(Number) },
    problems: expect.arrayContaining([expect.objectContaining({ event: 'gateway_down' })]),
  });

  const screen = (await command(['status'], leader.env)).output;
  expect(screen).toMatch(/^Rowcast on \w+ \(Postgres 1[48]/);
  expect(screen).toMatch(/^Relays +leader .*\n +standby /m);
  expect(screen).toMatch(
    /^Lag +● 7 events to deliver, the oldest for .*\n.*2 connections waiting/m,
  );
  expect(screen).toMatch(/✗ complaints .*\n? *.*missing or disabled/);
  expect(screen).toMatch(/✓ messages +insert, update, delete → all/);
  expect(screen).toMatch(/✗ the gateway does not answer/);
  expect(screen).toMatch(/gateway_down/);
  for (const line of screen.split('\n'))
    expect(stripVTControlCharacters(line).length).toBeLessThanOrEqual(80);

  const ofStandby = JSON.parse((await command(['status', '--json'], standby.env)).output) as Status;
  expect(ofStandby.relay).toMatchObject({ role: 'standby', term: null, lag: null });
});

test('a session that has the lock of the doorbell and is no relay is named by status and doctor', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const { role, client } = await stranger(world);
  await client.query('select pg_advisory_lock(1919907683, 1)');
  const screen = (await command(['status'], env)).output.replace(/\s+/g, ' ');
  expect(screen).toMatch(/leader .* \(backend \d+, term \d+, since/);
  expect(screen).toMatch(
    new RegExp(`! pid \\d+ of role ${role} \\(rowcast lease prod-1\\) has the doorbell's lock`),
  );
  const { output, code } = await command(['doctor'], env);
  expect(code).toBe(1);
  expect(output.replace(/\s+/g, ' ')).toMatch(
    new RegExp(`✗ doorbell lock pid \\d+ of role ${role} .*pg_terminate_backend`),
  );
});

test('status without a relay on this machine, or without any, says so', async () => {
  const world = await World.start();
  const { code, output } = await command(['status'], {
    ...world.environment(),
    ROWCAST_INSPECT_PORT: '1',
  });
  expect(code).toBe(0);
  expect(output).toMatch(/no relay leads: nothing is delivered. Start one: rowcast start/);
  expect(output).toMatch(/This relay +none answers at 127\.0\.0\.1:1/);
});

test('status of a database without the schema, or of none, is one clear line', async () => {
  const database = await TestDatabase.create({ empty: true });
  expect((await command(['status'], { DATABASE_URL: database.url })).output).toMatch(
    /run `rowcast migrate up`/,
  );
  await database.close();
  const away = await command(['status'], {
    DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/app',
  });
  expect(away).toMatchObject({
    code: 1,
    errors: expect.stringMatching(/^rowcast: .*ECONNREFUSED/),
  });
  expect(away.errors).not.toContain('hunter2');
});

test('status of a role with the documented grants works, and says what it cannot see', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const role = `status_${process.pid}`;
  await world.sql(`create role ${role} login password 'p'; grant usage on schema rowcast to ${role};
    grant select on all tables in schema rowcast to ${role}; grant update on rowcast.cursor, rowcast.installation to ${role};
    grant delete on rowcast.event to ${role}`);
  onTestFinished(() => world.sql(`drop owned by ${role}; drop role ${role}`).then(() => undefined));
  const holding = await world.database.client();
  await holding.query('begin');
  await holding.query(`insert into messages (content) values ('held')`);
  const DATABASE_URL = Object.assign(new URL(world.database.url), {
    username: role,
    password: 'p',
  }).href;
  const { code, output } = await command(['status'], { ...env, DATABASE_URL });
  expect(code).toBe(0);
  expect(output).toMatch(/^Relays +leader .*\(backend \d+, term \d+\)/m);
  expect(output.replaceAll(/\s+/g, ' ')).toMatch(
    /\d+ sessions? of other roles cannot be seen: grant pg_read_all_stats/,
  );
  await holding.query('rollback');
  holding.release();
});

test('status tells what the relay says where the database is away', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const { code, output } = await command(['status'], {
    ...env,
    DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/app',
  });
  expect(code).toBe(1);
  expect(output).toMatch(/The database cannot be asked: .*ECONNREFUSED/);
  expect(output).toMatch(/This relay +leader/);
  expect(output).not.toContain('hunter2');
});

test('status names a table that was watched and dropped', async () => {
  const world = await World.start();
  await world.sql('drop table complaints');
  const { output } = await command(['status'], world.environment());
  expect(output).toMatch(/! the table of COMPLAINT was dropped/);
});

test('status --watch prints one screen after another, also after its connection was cut, until it is interrupted', async () => {
  const world = await World.start();
  const watching = runDaemon(['status', '--watch', '--json'], world.environment());
  await expect.poll(() => watching.stdout.length).toBeGreaterThan(0);
  await world.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowcast status' and datname = current_database()`,
  );
  await expect
    .poll(() => watching.stderr.join())
    .toMatch(/neither database nor relay can be asked/);
  const before = watching.stdout.length;
  await expect.poll(() => watching.stdout.length).toBeGreaterThan(before);
  watching.process.kill('SIGINT');
  expect(await watching.exited).toBe(0);
});
