import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, events, watchedItems } = databaseOfEachTest();

test('schemas, and names that need quotes or are as long as they may be', async () => {
  const long = 'ü'.repeat(31);
  await sql('create schema "My App"');
  await sql(`create table "My App"."Order ""Items""" ("Item Id" int primary key, "select" text)`);
  await sql(`create table "My App"."${long}" (id int primary key)`);
  await sql(
    `select rowcast.watch('"My App"."Order ""Items"""', audience => '{"user:<select>"}', columns => '{Item Id,select}')`,
  );
  await sql(`select rowcast.watch('"My App"."${long}"', entity => 'long')`);
  await sql(`insert into "My App"."Order ""Items""" values (1, 'bob')`);
  await sql(`insert into "My App"."${long}" values (1)`);
  expect(
    await sql('select type, audience, data::text, source from rowcast.event order by id'),
  ).toEqual([
    {
      type: 'NEW_ORDER__ITEMS_',
      audience: ['user:bob'],
      data: '{"Item Id":1,"select":"bob"}',
      source: 'My App.Order "Items"',
    },
    { type: 'NEW_LONG', audience: ['all'], data: '{"id":1}', source: `My App.${long}` },
  ]);
  const channels = await sql<{ channel: string }>('select channel from rowcast.watched');
  for (const { channel } of channels) expect(Buffer.byteLength(channel)).toBeLessThanOrEqual(63);
});

test('a column that is added is captured without a list, never leaks with one, and breaks no write', async () => {
  await watchedItems();
  await sql('create table listed (id int primary key, n int)');
  await sql(`select rowcast.watch('listed', columns => '{id,n}')`);
  for (const table of ['item', 'listed']) {
    await sql(`alter table ${table} add secret text default 's'`);
    await sql(`insert into ${table} values (1, 1)`);
    await sql(`update ${table} set secret = 't'`);
  }
  expect(await events()).toEqual([
    'NEW_ITEM {"id":1,"n":1,"secret":"s"}',
    'UPDATE_ITEM {"id":1,"n":1,"secret":"t"}',
    'NEW_LISTED {"id":1,"n":1}',
  ]);
});

test('generated columns arrive, virtual ones too', async () => {
  const [version] = await sql<{ number: number }>(
    `select current_setting('server_version_num')::int as number`,
  );
  const virtual = Number(version?.number) >= 180000 ? 'virtual' : 'stored';
  await sql(`create table line (id int primary key, price numeric, count int, note text,
    total numeric generated always as (price * count) ${virtual}, "upper Note" text generated always as (upper(note)) ${virtual})`);
  await sql(`select rowcast.watch('line', include_old => true)`);
  await sql(`insert into line (id, price, count, note) values (1, 1.50, 2, 'a')`);
  await sql('update line set count = 3');
  await sql(
    `select rowcast.watch('line', columns => '{id,total}', audience => '{"room:<upper Note>"}')`,
  );
  await sql('update line set price = 2');
  await sql('delete from line');
  const before = '{"id":1,"price":1.50,"count":2,"note":"a","total":3.00,"upper Note":"A"}';
  expect(await events()).toEqual([
    `NEW_LINE ${before}`,
    `UPDATE_LINE {"id":1,"price":1.50,"count":3,"note":"a","total":4.50,"upper Note":"A"} < ${before}`,
    'UPDATE_LINE {"id":1,"total":6}',
    'DELETE_LINE {"id":1,"total":6}',
  ]);
  expect(await sql('select distinct audience from rowcast.event where id > 2')).toEqual([
    { audience: ['room:A'] },
  ]);
});

test('a row too large for any message is logged as its key, and its writer never fails', async () => {
  await sql('create table big (id int primary key, n int, a text, b jsonb)');
  await sql('create table keyless (a text)');
  await sql(
    `select rowcast.watch('big', include_old => true), rowcast.watch('keyless', operations => '{insert}')`,
  );
  // As JSON, the control characters of this row are 600 MB; what was built of it must fit
  // Postgres's 1 GB.
  await sql(`insert into big values (1, 1, repeat(E'\\u0001', 100000000), '{}')`);
  await sql('update big set n = 2');
  await sql(`select rowcast.watch('big', columns => '{id,a}')`);
  await sql(`update big set a = repeat('x', 200000)`);
  await sql('delete from big');
  await sql(`insert into keyless values (repeat('x', 200000))`);
  expect(
    await sql('select type, data::text, old::text, key::text from rowcast.event order by id'),
  ).toEqual([
    { type: 'NEW_BIG', data: null, old: null, key: '{"id":1}' },
    { type: 'UPDATE_BIG', data: null, old: null, key: '{"id":1}' },
    { type: 'UPDATE_BIG', data: null, old: null, key: '{"id":1}' },
    { type: 'DELETE_BIG', data: null, old: null, key: '{"id":1}' },
    { type: 'NEW_KEYLESS', data: null, old: null, key: 'null' },
  ]);
});

test('a row that no JSON can be made of never fails its writer', async () => {
  await sql(`create type odd as enum ('a');
    create function broken(odd) returns json language plpgsql as $$ begin raise exception 'boom'; end $$;
    create cast (odd as json) with function broken(odd);
    create table broken (id int primary key, e odd);
    create table wide (id int primary key, v numeric[]);
    create table keyed (id text primary key, v int)`);
  await sql(
    `select rowcast.watch('broken', audience => '{user:<id>}'), rowcast.watch('wide'), rowcast.watch('keyed')`,
  );
  await sql(`insert into broken values (1, 'a')`);
  // 600 bytes as stored, a gigabyte as JSON.
  await sql('insert into wide values (1, array_fill(1e131071::numeric, array[9000]))');
  await sql(`insert into keyed values (repeat('x', 150000), 1)`);
  expect(
    await sql('select type, audience, data::text, key::text from rowcast.event order by id'),
  ).toEqual([
    { type: 'NEW_BROKEN', audience: ['user:1'], data: null, key: '{"id":1}' },
    { type: 'NEW_WIDE', audience: ['all'], data: null, key: '{"id":1}' },
    { type: 'NEW_KEYED', audience: ['all'], data: null, key: 'null' },
  ]);
});

test('virtual columns that cannot be computed, or are named like anything else, fail no write', async ({
  skip,
}) => {
  const [version] = await sql<{ number: number }>(
    `select current_setting('server_version_num')::int as number`,
  );
  if (Number(version?.number) < 180000) skip('virtual generated columns came with Postgres 18');
  await sql(`create table f (id int primary key, bytes int, image int, reach int, kb int generated always as (bytes / 1024 + image + reach) virtual);
    create table g (id int primary key, n int, r int generated always as (100 / n) virtual)`);
  await sql(`select rowcast.watch('f'), rowcast.watch('g')`);
  await sql('insert into f values (1, 2048, 1, 2)');
  await sql('insert into g values (1, 0), (2, 5)');
  expect(await sql('select data::text, key::text from rowcast.event order by id')).toEqual([
    { data: '{"id":1,"bytes":2048,"image":1,"reach":2,"kb":5}', key: null },
    { data: null, key: '{"id":1}' },
    { data: '{"id":2,"n":5,"r":20}', key: null },
  ]);
});

test('a table with columns named old and new', async () => {
  await sql('create table audit (id int primary key, old jsonb, new jsonb)');
  await sql(`select rowcast.watch('audit')`);
  await sql(`insert into audit values (1, '1', '2')`);
  await sql(`update audit set old = '3'`);
  await sql('update audit set old = old');
  await sql('alter table audit alter column new type text');
  await sql(`update audit set new = '4'`);
  expect(await events()).toEqual([
    'NEW_AUDIT {"id":1,"old":1,"new":2}',
    'UPDATE_AUDIT {"id":1,"old":3,"new":2}',
    'UPDATE_AUDIT {"id":1,"old":3,"new":"4"}',
  ]);
});

test('where one of two images is too large for a message, neither is sent without the other', async () => {
  await sql('create table big (id int primary key, a text)');
  await sql(`select rowcast.watch('big', include_old => true)`);
  await sql(
    `insert into big select 1, string_agg(md5(n::text), '') from generate_series(1, 20000) n`,
  );
  await sql(`update big set a = 'small'`);
  expect(
    await sql('select data::text, old::text, key::text from rowcast.event order by id'),
  ).toEqual([
    { data: null, old: null, key: '{"id":1}' },
    { data: null, old: null, key: '{"id":1}' },
  ]);
});

test('a value that is too long to be anybody’s name addresses nobody', async () => {
  await sql('create table post (id int primary key, author text, room text)');
  await sql(`select rowcast.watch('post', audience => '{user:<author>,room:<room>,role:admin}')`);
  await sql(`insert into post values (1, repeat('a', 1000000), null), (2, 'bob', 'lobby')`);
  expect(await sql('select audience from rowcast.event order by id')).toEqual([
    { audience: ['role:admin'] },
    { audience: ['user:bob', 'room:lobby', 'role:admin'] },
  ]);
});

test('an update is addressed by the old row and the new, a delete by the old', async () => {
  await sql('create table task (id int primary key, owner text, team text)');
  await sql(`select rowcast.watch('task', audience => '{user:<owner>,room:<team>-<id>}')`);
  await sql(`insert into task values (1, 'ann', 'x')`);
  await sql(`update task set owner = 'bob', team = null`);
  await sql(`update task set owner = null`);
  await sql('delete from task');
  const audiences = await sql<{ audience: string[] }>(
    'select audience from rowcast.event order by id',
  );
  expect(audiences.map(({ audience }) => [...audience].sort())).toEqual([
    ['room:x-1', 'user:ann'],
    ['room:x-1', 'user:ann', 'user:bob'],
    ['user:bob'],
    [],
  ]);
});

test('an update of the primary key tells the former key, and no other update does', async () => {
  await sql('create table seat ("row" int, n int, guest text, primary key (n, "row"))');
  await sql('create table hidden (id int primary key, n int)');
  await sql(`select rowcast.watch('seat')`);
  await sql(`select rowcast.watch('hidden', columns => '{n}')`);
  await sql(`insert into seat values (1, 1, 'ann')`);
  await sql('insert into hidden values (1, 1)');
  await sql(`update seat set guest = 'bob'; update hidden set id = 2, n = 2`);
  await sql(`update seat set n = 2, guest = 'cy'`);
  // The catalogs say how to make JSON of rows from here on.
  await sql('alter table seat rename "row" to "the Row"');
  await sql(`update seat set guest = 'di'`);
  await sql('update seat set "the Row" = 7');
  const updates = await sql(
    `select data::text, old::text from rowcast.event where type like 'UPDATE%' order by id`,
  );
  expect(updates).toEqual([
    { data: '{"row":1,"n":1,"guest":"bob"}', old: null },
    { data: '{"n":2}', old: null },
    { data: '{"row":1,"n":2,"guest":"cy"}', old: '{"n":1,"row":1}' },
    { data: '{"the Row":1,"n":2,"guest":"di"}', old: null },
    { data: '{"the Row":7,"n":2,"guest":"di"}', old: '{"n":2,"the Row":1}' },
  ]);
});
