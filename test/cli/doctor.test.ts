import { once } from 'node:events';
import { chown, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import type { Finding } from '../../src/doctor/finding.ts';
import { ProbeClient } from '../../src/doctor/probe-client.ts';
import { migrate } from '../../src/listener/migrations.ts';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { command, leaderOf } from '../support/command.ts';
import { TestDatabase } from '../support/database.ts';
import { pgbouncer, startPooler } from '../support/pgbouncer.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { World } from '../support/world.ts';

/** What the doctor finds, by group and name; and its exit code. */
async function doctor(env: Record<string, string>, ...args: string[]) {
  const { code, output, errors } = await command(['doctor', '--json', ...args], env);
  expect(errors).toBe('');
  const findings = output.split('\n').map((line) => JSON.parse(line) as Finding);
  const named = (verdict: Finding['verdict']) =>
    Object.fromEntries(
      findings
        .filter((finding) => finding.verdict === verdict)
        .map(({ group, name, detail, fix }) => [`${group}: ${name}`, fix ? `${detail} DO ${fix}` : detail]),
    );
  return { code, problems: named('problem'), warnings: named('warning'), ok: named('ok'), skipped: named('skipped') };
}

test('a healthy system has no problem, and an event goes through the whole path', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const others = await Promise.all([1, 2, 3, 4].map(() => world.live()));
  const { code, problems, ok } = await doctor(env, '--url', `${world.gateway.websocketUrl}?userId=doctor`);
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
  await world.sql(`create table "Orders, old" (id int primary key); select rowcast.watch('"Orders, old"')`);
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
    'capture: complaints': expect.stringMatching(/a trigger of public\.complaints is missing or disabled/),
    'relay: leader': expect.stringMatching(/no relay leads.* DO start one: rowcast start/),
    'aws: gateway': expect.stringMatching(/WEBSOCKET_ENDPOINT answers 403: a wrong stage/),
    'aws: table': expect.stringMatching(/CONNECTIONS_TABLE elsewhere does not exist/),
    'clocks: gateway': expect.stringMatching(/the gateway is 5\d\.\d|60\.\d s behind this machine.* DO .*time server/),
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
  const mended = await doctor({ ...world.environment(), PORT: 'abc', ROWCAST_INSPECT_PORT: '99999' });
  expect(Object.keys(mended.problems)).toEqual(['settings: PORT', 'settings: ROWCAST_INSPECT_PORT', 'relay: leader']);
  expect(mended.ok).toHaveProperty('aws: gateway');
  expect(ok).toHaveProperty('database: reachable');
  expect(skipped).toHaveProperty(['aws: gateway, table']);
});

test.each([
  ['postgres://user:hunter2@127.0.0.1:1/app', /ECONNREFUSED.* DO nobody listens there/],
  ['postgres://user:hunter2@nowhere.invalid/app', /ENOTFOUND.* DO the host name/],
  ['postgres://user:hunter2@127.0.0.1:1/app?sslmode=verify-full&sslrootcert=/nope', /ENOENT.*\/nope/],
])('a database that cannot be reached is told apart: %s', async (url, expected) => {
  const { problems } = await doctor({ DATABASE_URL: url });
  expect(problems['database: reachable']).toMatch(expected);
  expect(JSON.stringify(problems)).not.toContain('hunter2');
});

test('a wrong password, a database without the schema, and a role without rights are told apart', async () => {
  const [world, empty] = await Promise.all([World.start(), TestDatabase.create({ empty: true })]);
  onTestFinished(() => empty.close());
  const role = `doctor_${process.pid}`;
  await world.sql(`create role ${role} login password 'right'`);
  onTestFinished(() => world.sql(`drop owned by ${role}; drop role ${role}`).then(() => undefined));
  const as = (password: string, url = world.database.url) =>
    doctor({ ...world.environment(), DATABASE_URL: Object.assign(new URL(url), { username: role, password }).href });
  const [wrong, noSchema, noRights] = await Promise.all([
    as('hunter2'),
    doctor({ ...world.environment(), DATABASE_URL: empty.url }),
    as('right'),
  ]);
  expect(wrong.problems['database: reachable']).toMatch(/password authentication failed.* DO the user or password/);
  expect(JSON.stringify(wrong)).not.toContain('hunter2');
  expect(noSchema.problems['database: migrations']).toMatch(/0001_log.* not applied DO rowcast migrate up/);
  expect(noRights.problems['database: rights']).toMatch(
    /may not: usage on schema rowcast.*DO docs\/sql\.md has the grants/,
  );
});

test('a copy of a database, and a cursor of a time before its restore, are told', async () => {
  const [copy, restored] = await Promise.all([World.start(), World.start()]);
  await copy.sql(`update rowcast.installation set identity = 'another'`);
  await restored.sql(`update rowcast.cursor set snapshot = '99999999:99999999:'`);
  const [ofCopy, ofRestored] = await Promise.all([doctor(copy.environment()), doctor(restored.environment())]);
  expect(ofCopy.problems['capture: installation']).toMatch(/is a copy.* DO .*select rowcast\.adopt\(\)/);
  expect(ofRestored.problems['capture: installation']).toMatch(/names transactions that this database never had/);
});

test.skipIf(!pgbouncer)(
  'a pooler in between is told, whether it drops what it does not know or refuses it',
  async () => {
    const world = await World.start();
    const [dropping, refusing] = await Promise.all([
      startPooler(world.database.url, 'options,extra_float_digits'),
      startPooler(world.database.url, 'extra_float_digits'),
    ]);
    const through = (DATABASE_URL: string, env = {}) => doctor({ ...world.environment(), DATABASE_URL, ...env });
    const [dropped, refused, polling] = await Promise.all([
      through(dropping),
      through(refusing),
      through(dropping, { ROWCAST_DOORBELL: 'off' }),
    ]);
    expect(dropped.problems['database: session settings']).toMatch(/does not arrive.* DO use a direct connection/);
    expect(dropped.problems['database: doorbell']).toMatch(/pooler in transaction mode.*direct connection/);
    expect(refused.problems['database: reachable']).toMatch(
      /unsupported startup parameter.* DO a pooler such as PgBouncer/,
    );
    expect(polling.problems).not.toHaveProperty('database: doorbell');
    expect(polling.warnings['database: doorbell']).toMatch(/it is off: rows are polled/);
  },
);

test('a read-only standby is told', async () => {
  const folder = await temporaryFolder('standby');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const start = () => LocalPostgres.start({ dataDir: join(folder, 'data'), logFile: join(folder, 'log') });
  const primary = await start();
  await migrate(
    {
      database: { connectionString: primary.url('postgres') },
      log: pino({ level: 'silent' }),
      signal: new AbortController().signal,
    },
    { direction: 'up' },
  );
  await primary.stop();
  const cluster = join(folder, 'data', 'cluster');
  const { uid, gid } = await stat(cluster);
  await writeFile(join(cluster, 'standby.signal'), '');
  await chown(join(cluster, 'standby.signal'), uid, gid);
  const standby = await start();
  onTestFinished(() => standby.stop());
  const { problems } = await doctor({ DATABASE_URL: standby.url('postgres') });
  expect(problems['database: primary']).toMatch(/leads to a read-only standby DO give it the writer endpoint/);
});

test('a URL of the database that is none is told, and its value is not', async () => {
  const { code, output, errors } = await command(['doctor'], { DATABASE_URL: 'postgres://u:hunter2#w@h/db' });
  expect({ code, errors }).toEqual({ code: 1, errors: '' });
  expect(output.replaceAll(/\s+/g, ' ')).toMatch(/✗ DATABASE_URL is not a Postgres URL \(its value is not shown\)/);
  expect(output).not.toContain('hunter2');
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

test('a probe to something else than Rowcast ends, and says so', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const chatty = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  chatty.on('connection', (socket) => socket.send('hello'));
  const plain = createServer((_, response) => response.end('a web page')).listen(0, '127.0.0.1');
  onTestFinished(() => {
    chatty.close();
    for (const client of chatty.clients) client.terminate();
    plain.close();
  });
  const port = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
  await once(plain, 'listening');
  const [web, url, token] = await Promise.all([
    doctor(env, '--url', `ws://127.0.0.1:${port(plain)}/`),
    doctor(env, '--url', 'nonsense'),
    doctor(env, '--url', world.gateway.websocketUrl, '--token', 'no token at all'),
  ]);
  expect(web.problems['probe: connect']).toMatch(/refused with 200: a web page DO this is no WebSocket API/);
  expect(url.problems['probe: connect']).toMatch(/Invalid URL DO --url is written wss:/);
  expect(token.problems['probe: connect']).toMatch(/DO --url is written wss:.*--token is a JWT/);
  const foreign = new ProbeClient({ url: `ws://127.0.0.1:${port(chatty)}/`, token: null }, 'mark');
  expect(await foreign.opened).toBeNull();
  expect(await foreign.frame(() => false)).toBeNull();
  expect(foreign.silence('READY')).toMatch(/answered with what is no frame of Rowcast/);
});

test('the probe tells at which hop an event gets lost', async () => {
  const secret = 'a secret that is long enough for HS256';
  const key = new TextEncoder().encode(secret);
  const world = await World.start({
    auth: { mode: 'jwt', key: { secret: key }, rolesClaim: 'roles', roomsClaim: 'rooms' },
  });
  const { env } = await leaderOf(world);
  const url = ['--url', world.gateway.websocketUrl];
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('doctor')
    .setExpirationTime('1h')
    .sign(key);
  const other = await World.start();
  const [refused, welcome, elsewhere, away] = await Promise.all([
    doctor(env, ...url, '--token', 'no-token'),
    doctor(env, ...url, '--token', token),
    doctor(other.environment(), ...url, '--token', token),
    doctor(env, '--url', 'ws://127.0.0.1:1/x'),
  ]);
  expect(refused.problems['probe: connect']).toMatch(/refused with 401: .* DO send a token that is valid/);
  expect(welcome.problems).toEqual({});
  expect(elsewhere.problems['probe: stored']).toMatch(
    /its item is not in table .* DO CONNECTIONS_TABLE of the \$connect Lambda/,
  );
  expect(away.problems['probe: connect']).toMatch(/cannot be reached: .*ECONNREFUSED/);
});
