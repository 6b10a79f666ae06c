import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { type Examples, startExamples } from '../api/start.ts';

let examples: Examples;
let database: pg.Client;

beforeAll(async () => {
  examples = await startExamples({ port: 0 });
  database = new pg.Client(examples.databaseUrl);
  await database.connect();
  return async () => {
    await database.end();
    await examples.stop();
  };
});

const relations = async () =>
  (
    await database.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class
       where relkind in ('r', 'v', 'S') and relnamespace in ('public'::regnamespace, 'rowcast'::regnamespace)
       order by name`,
    )
  ).rows.map(({ name }) => name);

test('drizzle-kit push adds a column of its own, and leaves Rowcast as it is', async () => {
  const before = await relations();
  expect(before).toEqual(expect.arrayContaining(['messages', 'complaints', 'rowcast.event']));
  await promisify(execFile)(
    'npx',
    ['drizzle-kit', 'push', '--force', '--config', 'drizzle/drizzle.config.ts'],
    { env: { ...process.env, DATABASE_URL: examples.databaseUrl } },
  );
  expect(await relations()).toEqual(before);
  await database.query(`insert into orders (customer_id, item, note) values (7, 'by push', 'new')`);
  const { rows } = await database.query(
    `select data ->> 'note' as note from rowcast.event where data ->> 'item' = 'by push'`,
  );
  expect(rows).toEqual([{ note: 'new' }]);
  const watched = await database.query('select problem from rowcast.watched');
  expect(watched.rows).toEqual([{ problem: null }, { problem: null }, { problem: null }]);
});

test('a migration of Prisma watches where Rowcast is, and does nothing in a shadow database', async () => {
  const migration = await readFile(
    new URL('../prisma/migrations/20261126000000_watch_orders/migration.sql', import.meta.url),
    'utf8',
  );
  await database.query(migration);
  const { rows } = await database.query(
    `select entity from rowcast.watched where target = 'orders'::regclass`,
  );
  expect(rows).toEqual([{ entity: 'ORDER' }]);
  const url = new URL(examples.databaseUrl);
  await database.query('create database shadow');
  url.pathname = '/shadow';
  const shadow = new pg.Client(url.href);
  await shadow.connect();
  await shadow.query(migration);
  await shadow.end();
});
