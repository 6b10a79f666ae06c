import { expect, onTestFinished, test } from 'vitest';
import { startTable } from '../support/dynamodb/dynamodb.ts';
import { StreamsServer } from '../support/dynamodb/streams-server.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import type { Daemon } from '../support/process/daemon.ts';
import { runDaemon } from '../support/process/run-daemon.ts';
import { World } from '../support/world.ts';

test('start without settings: all that is missing, on stderr, exit code 1', async () => {
  const daemon = runDaemon(['start'], {});
  expect(await daemon.exited).toBe(1);
  expect(daemon.stderr.join('\n')).toMatch(
    /DATABASE_URL: is missing[\s\S]*WEBSOCKET_ENDPOINT: is missing[\s\S]*AWS_REGION: is missing/,
  );
});

test('start while the database is away: it waits, unready, says so without the password, and stops when it is told to', async () => {
  const daemon = runDaemon(['start'], {
    DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/app',
    WEBSOCKET_ENDPOINT: 'http://localhost:1/x',
    AWS_REGION: 'eu-west-1',
    PORT: '0',
  });
  expect(await daemon.logged('database_awaited')).toMatchObject({
    error: expect.stringContaining('ECONNREFUSED'),
  });
  const { port } = await daemon.logged('starting');
  const readiness = await fetch(`http://127.0.0.1:${port}/readyz`);
  expect([readiness.status, await readiness.text()]).toEqual([
    503,
    expect.stringContaining('cannot be reached'),
  ]);
  daemon.process.kill('SIGTERM');
  expect(await daemon.exited).toBe(0);
  expect([...daemon.stdout, ...daemon.stderr].join()).not.toContain('hunter2');
});

test('start with a database that lets nobody in like that: one error that names the setting, exit code 1', async () => {
  const database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
  const daemon = runDaemon(['start'], {
    DATABASE_URL: Object.assign(new URL(database.url), {
      username: 'nobody_known',
      password: 'hunter2',
    }).href,
    WEBSOCKET_ENDPOINT: 'http://localhost:1/x',
    AWS_REGION: 'eu-west-1',
    PORT: '0',
  });
  expect(await daemon.exited).toBe(1);
  expect(daemon.stderr).toEqual([expect.stringMatching(/^rowcast: .*DATABASE_URL.*nobody_known/)]);
});

test('start without migrations on a database that has none: says what to do, exit code 1', async () => {
  const database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
  const daemon = runDaemon(['start'], {
    DATABASE_URL: database.url,
    MIGRATE_ON_START: 'false',
    WEBSOCKET_ENDPOINT: 'http://localhost:1/x',
    AWS_REGION: 'eu-west-1',
    PORT: '0',
  });
  expect(await daemon.exited).toBe(1);
  expect(daemon.stderr.join()).toMatch(/rowcast migrate up/);
});

test('migrate up and down, one by one', async () => {
  const database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
  const run = (...args: string[]) =>
    runDaemon(['migrate', ...args], { DATABASE_URL: database.url }).exited;
  expect(await run('up', '2')).toBe(0);
  expect(await run('up')).toBe(0);
  expect(await database.sql('select name from rowcast.migrations')).toHaveLength(8);
  expect(await run('down')).toBe(0);
  expect(await database.sql('select name from rowcast.migrations')).toHaveLength(7);
  expect(await run('sideways')).toBe(1);
});

test('health: alive at once, ready when it leads, a standby is ready too, and payloads stay out of the log', async () => {
  const world = await World.start();
  const [first, second] = [0, 1].map(() =>
    runDaemon(['start'], { ...world.environment(), LOG_LEVEL: 'trace' }),
  ) as [Daemon, Daemon];
  const ports = await Promise.all(
    [first, second].map(async (daemon) => (await daemon.logged('starting')).port),
  );
  await Promise.all([first.logged('started'), second.logged('started')]);
  const ready = (port: unknown) => fetch(`http://127.0.0.1:${port}/readyz`);
  for (const port of ports) await expect.poll(async () => (await ready(port)).status).toBe(200);
  const answers = await Promise.all(ports.map(ready));
  const roles = await Promise.all(
    answers.map(async (answer) => ((await answer.json()) as { role: string }).role),
  );
  expect([...roles].sort()).toEqual(['leader', 'standby']);
  expect((await fetch(`http://127.0.0.1:${ports[0]}/healthz`)).status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${ports[0]}/else`)).status).toBe(404);
  const client = await world.live({ userId: 'confidential-user' });
  await world.sql(`insert into messages (content) values ('confidential-content')`);
  await client.received(1);
  const leader = ports[roles.indexOf('leader')];
  const metrics = async () => (await fetch(`http://127.0.0.1:${leader}/metrics`)).text();
  await expect.poll(metrics).toMatch(/^rowcast_posts_total\{outcome="delivered"\} 2$/m);
  await expect.poll(metrics).toMatch(/^rowcast_doorbell_sleeps_total [1-9]/m);
  expect(await metrics()).toMatch(
    /^rowcast_connections\{feed="scan"\} 1$[\s\S]*^rowcast_leader 1$/m,
  );
  expect(await metrics()).not.toContain('confidential');
  for (const daemon of [first, second]) {
    daemon.process.kill('SIGTERM');
    expect(await daemon.exited).toBe(0);
    expect(daemon.stdout.join()).not.toContain('confidential');
  }
});

test('a health port that is taken is one error', async () => {
  const world = await World.start();
  const first = world.daemon();
  const { port } = await first.logged('starting');
  const second = runDaemon(['start'], { ...world.environment(), PORT: String(port) });
  expect(await second.exited).toBe(1);
  expect(second.stderr.join()).toContain(`EADDRINUSE: address already in use :::${port}`);
});

test('with DIRECTORY_FEED=stream a new connection is served, and nothing is scanned again', async () => {
  const server = await StreamsServer.start();
  const table = await startTable(server.endpoint);
  onTestFinished(async () => {
    await table.stop();
    await server.stop();
  });
  const world = await World.start({ table });
  const daemon = world.daemon({
    DIRECTORY_FEED: 'stream',
    AWS_ENDPOINT_URL_DYNAMODB_STREAMS: server.endpoint,
  });
  await daemon.logged('started');
  for (const userId of ['ann', 'bob']) {
    const client = await world.live({ userId });
    await world.sql('select rowcast.send_to_user($1, $2, $3)', [userId, 'hello', '{}']);
    await client.frame(({ type }) => type === 'hello');
  }
  expect(server.requests.get('Scan')).toBe(1);
});

test('a relay whose role has the documented grants and no more starts, with MIGRATE_ON_START as it is by default', async () => {
  const world = await World.start();
  const role = `relay_${process.pid}`;
  await world.sql(`create role ${role} login password 'p'; grant usage on schema rowcast to ${role};
    grant select on all tables in schema rowcast to ${role}; grant update on rowcast.cursor, rowcast.installation to ${role};
    grant delete on rowcast.event to ${role}`);
  onTestFinished(() => world.sql(`drop owned by ${role}; drop role ${role}`).then(() => undefined));
  const DATABASE_URL = Object.assign(new URL(world.database.url), {
    username: role,
    password: 'p',
  }).href;
  const daemon = world.daemon({ DATABASE_URL });
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('x')`);
  await client.received(1);
});
