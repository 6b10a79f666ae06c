import { expect, test } from 'vitest';
import { command } from '../support/process/command.ts';
import type { Daemon } from '../support/process/daemon.ts';
import { runDaemon } from '../support/process/run-daemon.ts';
import { World } from '../support/world.ts';

/** `rowcast tail` with each of these arguments, once all have their place in the log. */
async function tailing(world: World, ...tails: string[][]) {
  const daemons = tails.map((args) => runDaemon(['tail', ...args], world.environment()));
  await expect
    .poll(() =>
      world.sql(`select from pg_stat_activity where datname = current_database() and application_name = 'rowcast tail'
        and query like '%rowcast.event%'`),
    )
    .toHaveLength(tails.length);
  return daemons as [Daemon, ...Daemon[]];
}

test('tail prints events as they are committed, and takes nothing from anybody', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  const [tail] = await tailing(world, []);
  await world.sql(`insert into messages (content) values ('first')`);
  const late = await world.database.client();
  await late.query('begin');
  await late.query(`insert into messages (content) values ('committed last')`);
  await world.sql(`select rowcast.send_to_user('42', 'direct', '{"a": 1}')`);
  await expect.poll(() => tail.stdout.length).toBe(2);
  await late.query('commit');
  late.release();
  await expect.poll(() => tail.stdout.length).toBe(3);
  expect(tail.stdout[0]).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3}Z {2}1 {2}NEW_MESSAGE {2}all {2}\{"id":1,.*"content":"first"/,
  );
  expect(tail.stdout[1]).toMatch(/ {2}3 {2}direct {2}user:42 {2}\{"a": 1\}$/);
  expect(tail.stdout[2]).toMatch(/committed last/);
  await client.received(2);
  tail.process.kill('SIGINT');
  expect(await tail.exited).toBe(0);
});

test('tail takes types, also by their beginning, and audience terms, and prints frames as clients get them', async () => {
  const world = await World.start();
  const [typed, addressed, framed] = (await tailing(
    world,
    ['--type', 'NEW_*', 'direct'],
    ['--audience', 'user:42', 'room:lobby'],
    ['--json'],
  )) as [Daemon, Daemon, Daemon];
  await world.sql(`insert into messages (content) values ('row')`);
  await world.sql(`update messages set content = 'changed'`);
  await world.sql(
    `select rowcast.send_to_user('42', 'direct', '1'), rowcast.send_to_room('lobby', 'room', '2')`,
  );
  await expect.poll(() => framed.stdout.length).toBe(4);
  await expect.poll(() => typed.stdout.length).toBe(2);
  await expect.poll(() => addressed.stdout.length).toBe(2);
  expect(typed.stdout.join('\n')).toMatch(/NEW_MESSAGE[\s\S]*direct/);
  expect(addressed.stdout.join('\n')).toMatch(/user:42[\s\S]*room:lobby/);
  expect(JSON.parse(framed.stdout[3] as string)).toEqual({
    id: '4',
    type: 'room',
    data: 2,
    timestamp: expect.any(Number),
    tx: expect.stringMatching(/^\d+$/),
    cursor: expect.any(String),
  });
});

test('tail misses nothing when its connection is cut', async () => {
  const world = await World.start();
  const [tail] = await tailing(world, ['--json']);
  await world.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowcast tail' and datname = current_database()`,
  );
  await world.sql(`insert into messages (content) values ('meanwhile')`);
  await expect.poll(() => tail.stdout.join()).toMatch(/meanwhile/);
  expect(tail.stderr.join('\n')).toMatch(/lost the database .*connecting again/);
});

test('tail ends quietly when its reader has gone', async () => {
  const world = await World.start();
  const [tail] = await tailing(world, []);
  tail.process.stdout?.destroy();
  await expect
    .poll(async () => {
      await world.sql(`insert into messages (content) values ('to nobody')`);
      return tail.process.exitCode;
    })
    .toBe(0);
  expect(tail.stderr).toEqual(['waiting for events; Ctrl-C ends']);
});

test('tail begins with what is still in the log, and goes on with what commits later', async () => {
  const world = await World.start();
  await world.sql(`select rowcast.broadcast('old', '1')`);
  await world.sql(`update rowcast.event set occurred_at = now() - interval '2 hours'`);
  const late = await world.database.client();
  await late.query('begin');
  await late.query(`select rowcast.broadcast('late', '2')`);
  await world.sql(
    `select rowcast.broadcast('recent', n::text::json) from generate_series(1, 1200) n`,
  );
  const [tail, all] = (await tailing(
    world,
    ['--since', '1h', '--json'],
    ['--since', '1d', '--json'],
  )) as [Daemon, Daemon];
  await expect.poll(() => tail.stdout.length).toBe(1200);
  await late.query('commit');
  late.release();
  await world.sql(`select rowcast.broadcast('new', '3')`);
  await expect.poll(() => tail.stdout.length).toBe(1202);
  const types = (lines: readonly string[]) =>
    lines.map((line) => (JSON.parse(line) as { type: string }).type);
  expect(types(tail.stdout).slice(1199)).toEqual(['recent', 'late', 'new']);
  await expect.poll(() => all.stdout.length).toBe(1203);
  expect(types(all.stdout)[0]).toBe('old');
  const wrong = runDaemon(['tail', '--since', 'yesterday'], world.environment());
  expect(await wrong.exited).toBe(1);
  expect(wrong.stderr.join()).toMatch(/not a time such as 90s, 10m/);
});

test('tail --since of an empty log waits for the first event', async () => {
  const world = await World.start();
  const [tail] = await tailing(world, ['--since', '1h']);
  await world.sql(`select rowcast.broadcast('first', '1')`);
  await expect.poll(() => tail.stdout.length).toBe(1);
});

test('a term that no event can have is refused, with what terms there are', async () => {
  const { code, errors } = await command(['tail', '--audience', 'all', 'user=42'], {});
  expect(code).toBe(1);
  expect(errors).toMatch(
    /'user=42' is invalid.*A term is all, user:ID, room:NAME, role:NAME or connection:ID/,
  );
});

test('commands without settings, and without a rowcast dev, say what to do about both', async () => {
  const { code, errors } = await command(['tail', '--dir', '/nowhere'], {});
  expect(code).toBe(1);
  expect(errors).toMatch(
    /DATABASE_URL is not set, and no rowcast dev runs in \/nowhere: start one, or name its folder/,
  );
});
