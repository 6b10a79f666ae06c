import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type MigrationStep, migrate } from '../../src/postgres/migrations.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import { dumpSchema } from '../support/postgres/schema-dump.ts';

const ALL = 8;
let database: TestDatabase;
beforeEach(async () => {
  database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
});

const run = (step: MigrationStep) =>
  migrate(
    {
      database: { connectionString: database.url },
      log: pino({ level: 'silent' }),
      signal: new AbortController().signal,
    },
    step,
  );
const cli = (...args: string[]) =>
  promisify(execFile)('npx', ['node-pg-migrate', ...args], {
    env: { ...process.env, DATABASE_URL: database.url },
  });
const relations = async () =>
  (
    await database.sql<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c where relkind in ('r', 'v') and relnamespace::regnamespace::text in ('public', 'rowcast') order by 1`,
    )
  ).map(({ name }) => name);

test('the schema is the one in schema.sql', async () => {
  await run({ direction: 'up' });
  await expect(await dumpSchema(database)).toMatchFileSnapshot('../../schema.sql');
});

test.skipIf(process.env.TEST_POSTGRES_VERSION === '14')(
  'a capture function with everything in it is the one in capture-function.sql',
  async () => {
    await run({ direction: 'up' });
    await database.sql(`create table orders (id bigint primary key, seller text, buyer text, cents int,
      total text generated always as (cents || ' ct') virtual, secret text)`);
    await database.sql(`select rowcast.watch('orders', audience => '{role:staff,user:<seller>,user:<buyer>}',
      columns => '{id,buyer,total}', include_old => true)`);
    const [row] = await database.sql<{ body: string }>(
      `select rowcast.capture_body(c) as body from rowcast.capture c where c.entity = 'ORDERS'`,
    );
    await expect(`${row?.body.trim()}\n`).toMatchFileSnapshot('capture-function.sql');
  },
);

test('up is done once, by whichever relay comes first', async () => {
  const names = await Promise.all([run({ direction: 'up' }), run({ direction: 'up' })]);
  expect(names.flat()).toHaveLength(ALL);
  expect(await run({ direction: 'up' })).toEqual([]);
});

test('down to nothing leaves nothing of ours', async () => {
  await run({ direction: 'up' });
  await run({ direction: 'down', count: ALL });
  expect(await relations()).toEqual([]);
  expect(await database.sql(`select from pg_namespace where nspname = 'rowcast'`)).toEqual([]);
  await run({ direction: 'up' });
});

test('down keeps the tables and rows of users, and takes only the triggers', async () => {
  await database.sql('create table complaints (id uuid primary key, what text)');
  await run({ direction: 'up' });
  await database.sql(`insert into messages (content) values ('keep me')`);
  await database.sql('create table mine (id int primary key)');
  await database.sql(`select rowcast.watch('mine')`);
  await database.sql(`select rowcast.rooms_from('mine', 'id', 'all of them')`);
  await database.sql('insert into mine values (2)');
  await run({ direction: 'down', count: ALL });
  expect(await relations()).toEqual(['complaints', 'messages', 'mine']);
  expect(await database.sql('select content from messages')).toEqual([{ content: 'keep me' }]);
  expect(await database.sql('select from pg_trigger where not tgisinternal')).toEqual([]);
  await database.sql('insert into mine values (1)');
});

test("down keeps an empty table of ours that something of the user's refers to", async () => {
  await run({ direction: 'up' });
  await database.sql(
    'create table comments (id int primary key, message bigint references messages)',
  );
  await run({ direction: 'down', count: ALL });
  expect(await relations()).toEqual(['comments', 'messages']);
});

test('a table that was there is watched as it is', async () => {
  await database.sql('create table messages (key text primary key, n numeric)');
  await run({ direction: 'up' });
  await database.sql(`insert into messages values ('a', 1.50)`);
  expect(await database.sql('select type, data::text from rowcast.event')).toEqual([
    { type: 'NEW_MESSAGE', data: '{"key":"a","n":1.50}' },
  ]);
});

test('a table that was there and has row level security is watched with its key alone', async () => {
  await database.sql('create table messages (org int, id int, secret text, primary key (org, id))');
  await database.sql('create table complaints (secret text)');
  await database.sql(
    'alter table messages enable row level security; alter table complaints enable row level security',
  );
  await run({ direction: 'up' });
  await database.sql(`insert into messages values (7, 1, 'hush')`);
  await database.sql(`insert into complaints values ('hush')`);
  expect(await database.sql('select type, data::text from rowcast.event')).toEqual([
    { type: 'NEW_MESSAGE', data: '{"org":7,"id":1}' },
  ]);
  expect(await database.sql('select target::text, warning from rowcast.watched')).toEqual([
    { target: 'messages', warning: null },
  ]);
});

test('with rowcast.watch_defaults off no table is made, and none is watched', async () => {
  await database.sql(
    `do $$ begin execute format('alter database %I set rowcast.watch_defaults = off', current_database()); end $$`,
  );
  await database.sql('create table messages (id int primary key)');
  await run({ direction: 'up' });
  expect(await database.sql('select from rowcast.watched')).toEqual([]);
  expect(await relations()).not.toContain('complaints');
});

test('down and up again widens no watch that was narrowed', async () => {
  await run({ direction: 'up' });
  await database.sql('create table mine (id int primary key, owner text, note text)');
  await database.sql(`select rowcast.watch('messages', 'MESSAGE', '{user:<recipient>}', '{id}')`);
  await database.sql(
    `select rowcast.watch('mine', 'own', '{user:<owner>}', '{id}', '{insert}', true)`,
  );
  const watches = () =>
    database.sql(
      `select target::text, entity, audience, columns, operations, include_old, problem, warning from rowcast.watched order by 1`,
    );
  const before = await watches();
  await run({ direction: 'down', count: ALL });
  await run({ direction: 'up' });
  expect(await watches()).toEqual(before);
  expect(await relations()).not.toContain('rowcast.kept_watch');
});

test('a watch that sends all columns of a table of the application to all is warned of', async () => {
  await database.sql('create table complaints (id int primary key, secret text)');
  await run({ direction: 'up' });
  expect(
    await database.sql('select target::text from rowcast.watched where warning is not null'),
  ).toEqual([{ target: 'complaints' }]);
});

test('npx node-pg-migrate alone sets a database up and takes it down, and the daemon goes on from there', async () => {
  await cli('up');
  expect(await relations()).toContain('rowcast.event');
  expect(await run({ direction: 'up' })).toEqual([]);
  await cli('down', String(ALL));
  expect(await relations()).toEqual(['pgmigrations']);
});

test("the daemon keeps its record apart from the application's own node-pg-migrate", async () => {
  await database.sql(
    'create table pgmigrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
  );
  await database.sql(`insert into pgmigrations (name, run_on) values ('1_theirs', now())`);
  await run({ direction: 'up' });
  expect(await database.sql('select name from pgmigrations')).toEqual([{ name: '1_theirs' }]);
  await expect(cli('up')).rejects.toThrow();
});

test('a migration that waits for a busy table gives up its place and tries again', async () => {
  await database.sql('create table messages (id int primary key)');
  const writer = await database.client();
  await writer.query('begin');
  await writer.query('insert into messages values (1)');
  const migrating = run({ direction: 'up' });
  // A later writer must not wait behind the migration for longer than its lock time-out.
  await expect
    .poll(
      async () =>
        (
          await database.sql(
            `select from pg_locks where not granted and relation = 'messages'::regclass`,
          )
        ).length,
    )
    .toBe(1);
  await database.sql('insert into messages values (2)');
  await writer.query('commit');
  writer.release();
  expect(await migrating).toHaveLength(ALL);
});

test('relations named messages or complaints that are no tables are left alone', async () => {
  await database.sql('create view messages as select 1 as id');
  await database.sql('create table complaints (what text)');
  await run({ direction: 'up' });
  expect(await database.sql('select target::text, include_old from rowcast.watched')).toEqual([
    { target: 'complaints', include_old: true },
  ]);
  await run({ direction: 'down', count: ALL });
  expect(await relations()).toEqual(['complaints', 'messages']);
});

test('a schema that another role has made is refused', async () => {
  const squatter = `squatter_${Math.random().toString(36).slice(2)}`;
  await database.sql(`create role ${squatter}`);
  await database.sql(`create schema rowcast authorization ${squatter}`);
  await expect(cli('up')).rejects.toThrow(/schema rowcast belongs to another role/);
  await database.sql(`drop owned by ${squatter}; drop role ${squatter}`);
});

test.each([
  [
    'the schema came from a dump without data',
    'delete from rowcast.migrations',
    /restored without its data.*drop schema rowcast cascade/,
  ],
  [
    'the record is there and the tables are not',
    'create table public.pgmigrations as select * from rowcast.migrations; drop schema rowcast cascade',
    /tables of the schema rowcast are not there.*drop schema/,
  ],
  [
    'the record has a gap',
    `delete from rowcast.migrations where name = '0003_watch'`,
    /gap: 0008_\w+ is .* 0003_watch before it is not/,
  ],
] as const)('%s: migrate says so, and what gets out of it', async (_, damage, told) => {
  await run({ direction: 'up' });
  await database.sql(damage);
  await expect(run({ direction: 'up' })).rejects.toThrow(told);
});
