import { chown, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { migrate } from '../../src/postgres/migrations.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import { pgbouncer, startPooler } from '../support/postgres/pgbouncer.ts';
import { command } from '../support/process/command.ts';
import { doctor } from '../support/process/doctor.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';
import { World } from '../support/world.ts';

test.each([
  ['postgres://user:hunter2@127.0.0.1:1/app', /ECONNREFUSED.* DO nobody listens there/],
  ['postgres://user:hunter2@nowhere.invalid/app', /ENOTFOUND.* DO the host name/],
  [
    'postgres://user:hunter2@127.0.0.1:1/app?sslmode=verify-full&sslrootcert=/nope',
    /ENOENT.*\/nope/,
  ],
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
    doctor({
      ...world.environment(),
      DATABASE_URL: Object.assign(new URL(url), { username: role, password }).href,
    });
  const [wrong, noSchema, noRights] = await Promise.all([
    as('hunter2'),
    doctor({ ...world.environment(), DATABASE_URL: empty.url }),
    as('right'),
  ]);
  expect(wrong.problems['database: reachable']).toMatch(
    /password authentication failed.* DO the user or password/,
  );
  expect(JSON.stringify(wrong)).not.toContain('hunter2');
  expect(noSchema.problems['database: migrations']).toMatch(
    /0001_log.* not applied DO rowcast migrate up/,
  );
  expect(noRights.problems['database: rights']).toMatch(
    /may not: usage on schema rowcast.*DO docs\/sql\.md has the grants/,
  );
});

test('a copy of a database, and a cursor of a time before its restore, are told', async () => {
  const [copy, restored] = await Promise.all([World.start(), World.start()]);
  await copy.sql(`update rowcast.installation set identity = 'another'`);
  await restored.sql(`update rowcast.cursor set snapshot = '99999999:99999999:'`);
  const [ofCopy, ofRestored] = await Promise.all([
    doctor(copy.environment()),
    doctor(restored.environment()),
  ]);
  expect(ofCopy.problems['capture: installation']).toMatch(
    /is a copy.* DO .*select rowcast\.adopt\(\)/,
  );
  expect(ofRestored.problems['capture: installation']).toMatch(
    /names transactions that this database never had/,
  );
});

test('a table that does not say any more who is in which room is told, and a user in too many', async () => {
  const world = await World.start();
  await world.sql('create table members (user_id text, team_id int)');
  await world.sql('create table guests (guest text)');
  await world.sql(`select rowcast.rooms_from('members', 'user_id', 'team-<team_id>')`);
  await world.sql(`select rowcast.rooms_from('guests', 'guest', 'lobby')`);
  await world.sql(`insert into members select 'ann', n from generate_series(1, 5001) n`);
  const before = await doctor(world.environment());
  expect(before.problems).not.toHaveProperty('capture: rooms from members');
  expect(before.warnings['capture: rooms of ann']).toMatch(/5001 by tables.* DO .*5000/);
  await world.sql('alter table members rename team_id to club_id');
  const { problems } = await doctor(world.environment());
  expect(problems['capture: rooms from members']).toMatch(
    /column team_id was renamed.*call rowcast.rooms_from\(\) again DO /,
  );
  expect(problems).not.toHaveProperty('capture: rooms from guests');
});

test.skipIf(!pgbouncer)(
  'a pooler in between is told, whether it drops what it does not know or refuses it',
  async () => {
    const world = await World.start();
    const [dropping, refusing] = await Promise.all([
      startPooler(world.database.url, 'options,extra_float_digits'),
      startPooler(world.database.url, 'extra_float_digits'),
    ]);
    const through = (DATABASE_URL: string, env = {}) =>
      doctor({ ...world.environment(), DATABASE_URL, ...env });
    const [dropped, refused, polling] = await Promise.all([
      through(dropping),
      through(refusing),
      through(dropping, { ROWCAST_DOORBELL: 'off' }),
    ]);
    expect(dropped.problems['database: session settings']).toMatch(
      /does not arrive.* DO use a direct connection/,
    );
    expect(dropped.problems['database: doorbell']).toMatch(
      /pooler in transaction mode.*direct connection/,
    );
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
  const start = () =>
    LocalPostgres.start({ dataDir: join(folder, 'data'), logFile: join(folder, 'log') });
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
  expect(problems['database: primary']).toMatch(
    /leads to a read-only standby DO give it the writer endpoint/,
  );
});

test('a URL of the database that is none is told, and its value is not', async () => {
  const { code, output, errors } = await command(['doctor'], {
    DATABASE_URL: 'postgres://u:hunter2#w@h/db',
  });
  expect({ code, errors }).toEqual({ code: 1, errors: '' });
  expect(output.replaceAll(/\s+/g, ' ')).toMatch(
    /✗ DATABASE_URL is not a Postgres URL \(its value is not shown\)/,
  );
  expect(output).not.toContain('hunter2');
});
