import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { type MigrationStep, migrate } from '../../src/listener/migrations.ts';
import { TestDatabase } from '../support/database.ts';
import { dumpSchema } from '../support/schema-dump.ts';

const ALL = 5;
let database: TestDatabase;
beforeEach(async () => {
  database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
});

const run = (step: MigrationStep) =>
  migrate({ databaseUrl: database.url, log: pino({ level: 'silent' }), signal: new AbortController().signal }, step);
const cli = (...args: string[]) =>
  promisify(execFile)('npx', ['node-pg-migrate', ...args], { env: { ...process.env, DATABASE_URL: database.url } });
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
  await run({ direction: 'down', count: ALL });
  expect(await relations()).toEqual(['complaints', 'messages', 'mine']);
  expect(await database.sql('select content from messages')).toEqual([{ content: 'keep me' }]);
  expect(await database.sql('select from pg_trigger where not tgisinternal')).toEqual([]);
  await database.sql('insert into mine values (1)');
});

test('a table that was there is watched as it is', async () => {
  await database.sql('create table messages (key text primary key, n numeric)');
  await run({ direction: 'up' });
  await database.sql(`insert into messages values ('a', 1.50)`);
  expect(await database.sql('select type, data::text from rowcast.event')).toEqual([
    { type: 'NEW_MESSAGE', data: '{"key":"a","n":1.50}' },
  ]);
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
        (await database.sql(`select from pg_locks where not granted and relation = 'messages'::regclass`)).length,
    )
    .toBe(1);
  await database.sql('insert into messages values (2)');
  await writer.query('commit');
  writer.release();
  expect(await migrating).toHaveLength(ALL);
});

test.each([
  [`rowcast.watch('nowhere')`, /relation "nowhere" does not exist/],
  [`rowcast.watch('pg_class')`, /pg_class belongs to schema pg_catalog/],
  [`rowcast.watch('a_view')`, /a_view is not a table/],
  [`rowcast.watch('messages', audience => '{}')`, /audience is empty/],
  [`rowcast.watch('messages', audience => '{everybody}')`, /'everybody' is not an audience term/],
  [`rowcast.watch('messages', audience => '{user:<nope>}')`, /messages has no column 'nope'/],
  [`rowcast.watch('messages', audience => '{user:<id}')`, /unpaired < or >/],
  [`rowcast.watch('messages', columns => '{id,nope}')`, /messages has no column 'nope'/],
  [`rowcast.watch('messages', columns => '{}')`, /columns is empty/],
  [`rowcast.watch('messages', operations => '{upsert}')`, /operations are '{upsert}'/],
  [`rowcast.watch('messages', entity => 'a b')`, /entity 'A B' cannot be part of a type/],
  [`rowcast.unwatch('plain')`, /plain is not watched/],
  [`rowcast.send('two words', '1')`, /type is 'two words'/],
  [`rowcast.send('READY', '1')`, /type READY is Rowcast's own/],
  [`rowcast.send('x', '1', '{user:}')`, /'user:' is not an audience term/],
  [`rowcast.send_to_user(null, 'x', '1')`, /no user was given/],
])('%s is refused with what is wrong and a hint', async (call, message) => {
  await run({ direction: 'up' });
  await database.sql('create view a_view as select 1 as n');
  await database.sql('create table plain (id int)');
  const failure = await database.sql(`select ${call}`).catch((error: unknown) => error as Error & { hint?: string });
  expect(failure).toBeInstanceOf(Error);
  expect((failure as Error).message).toMatch(message);
  if (!/does not exist/.test((failure as Error).message)) expect((failure as { hint?: string }).hint).toBeTruthy();
});
