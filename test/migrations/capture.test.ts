import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client } = databaseOfEachTest();
const events = () =>
  sql<{ type: string; audience: string[]; data: string | null }>(
    'select type, audience, data::text from rowcast.event order by id',
  );

test('renaming or dropping a column that is named never breaks a write, and nothing leaks', async () => {
  await sql('create table orders (id bigint primary key, buyer text, note text, secret text)');
  await sql(`select rowcast.watch('orders', audience => '{user:<buyer>}', columns => '{id,note}')`);
  await sql(`insert into orders values (1, 'bob', 'n', 's')`);
  await sql('alter table orders rename buyer to purchaser');
  await sql(`insert into orders values (2, 'bob', 'n', 's')`);
  await sql('alter table orders drop column note');
  await sql('alter table orders alter column id type numeric');
  await sql(`update orders set secret = 't'`);
  await sql('delete from orders');
  await sql(`select rowcast.watch('orders', audience => '{user:<purchaser>}', columns => '{id}')`);
  await sql(`insert into orders values (3, 'eve', 's')`);
  const all = await events();
  expect(all[0]).toEqual({
    type: 'NEW_ORDERS',
    audience: ['user:bob'],
    data: '{"id":1,"note":"n"}',
  });
  for (const event of all.slice(1, -1)) expect(event).toMatchObject({ audience: [], data: null });
  expect(all.at(-1)).toEqual({ type: 'NEW_ORDERS', audience: ['user:eve'], data: '{"id":3}' });
});

test('renaming the primary key does not break the write of a large row', async () => {
  await sql('alter table messages rename id to number');
  await sql(`insert into messages (content) values (repeat('x', 5000))`);
  expect(await events()).toHaveLength(1);
});

test('tables whose names run together are captured apart', async () => {
  await sql('create schema app');
  await sql('create schema app_user');
  await sql('create table app.user_messages (id int primary key)');
  await sql('create table app_user.messages (id int primary key)');
  await sql(`select rowcast.watch('app.user_messages', entity => 'a', audience => '{role:admin}')`);
  await sql(`select rowcast.watch('app_user.messages', entity => 'b')`);
  await sql('insert into app.user_messages values (1)');
  await sql('insert into app_user.messages values (1)');
  expect((await events()).map(({ type, audience }) => [type, audience])).toEqual([
    ['NEW_A', ['role:admin']],
    ['NEW_B', ['all']],
  ]);
  await sql(`select rowcast.unwatch('app.user_messages')`);
  await sql('insert into app_user.messages values (2)');
  expect(await events()).toHaveLength(3);
});

test('watching again takes a lock only where triggers change', async () => {
  const writer = await client();
  await writer.query('begin');
  await writer.query(`insert into messages (content) values ('open')`);
  await sql(`select rowcast.watch('messages', 'MESSAGE')`);
  await sql(`select rowcast.watch('messages', 'OTHER', '{role:a}', '{id}')`);
  const withoutDelete = `select rowcast.watch('messages', 'OTHER', operations => '{insert}')`;
  await expect(sql(withoutDelete)).rejects.toThrow(/lock timeout/);
  await writer.query('commit');
  writer.release();
  await sql(`insert into messages (content) values ('narrowed')`);
  expect(await sql('select type, audience, data::text from rowcast.event offset 1')).toEqual([
    { type: 'NEW_OTHER', audience: ['role:a'], data: '{"id":2}' },
  ]);
});

test('an update that changes nothing is no event, and a row looks the same by every writer', async () => {
  await sql(
    `create table odd (id int primary key, at timestamptz, bytes bytea, span interval, doc json, n numeric)`,
  );
  await sql(`select rowcast.watch('odd')`);
  const session = await client();
  for (const settings of [
    `set timezone = 'UTC'`,
    `set timezone = 'Asia/Tokyo'; set bytea_output = 'escape'; set intervalstyle = 'sql_standard'; set datestyle = 'German'`,
  ]) {
    await session.query(settings);
    await session.query(
      `insert into odd values (1, '2026-01-01T00:00:00Z', '\\x00ff41', '1 day 2 hours', '{"a":"\\u0000", "b": 1.0}', 12345678901234567890.1230)`,
    );
    await session.query('update odd set n = n');
    await session.query('delete from odd');
  }
  session.release();
  const all = await events();
  expect(all.map(({ type }) => type)).toEqual(['NEW_ODD', 'DELETE_ODD', 'NEW_ODD', 'DELETE_ODD']);
  expect(all[0]?.data).toBe(
    '{"id":1,"at":"2026-01-01T00:00:00+00:00","bytes":"\\\\x00ff41","span":"P1DT2H","doc":{"a":"\\u0000", "b": 1.0},"n":12345678901234567890.1230}',
  );
  expect(new Set(all.map(({ data }) => data)).size).toBe(1);
});

test('a column may be named as the capture function names its own things', async () => {
  await sql(
    'create table odd_names (r int primary key, image text, reach text, tg_op text, "new" text)',
  );
  await sql(`select rowcast.watch('odd_names', columns => '{r,image,reach,tg_op,new}')`);
  await sql(`insert into odd_names values (1, repeat('x', 2000), 'b', 'c', 'd')`);
  await sql(`update odd_names set reach = 'e'`);
  expect((await events()).map(({ type }) => type)).toEqual(['NEW_ODD_NAMES', 'UPDATE_ODD_NAMES']);
  expect(await sql('select key::text from rowcast.event limit 1')).toEqual([{ key: '{"r":1}' }]);
});

test('a watched table that was dropped is forgotten', async () => {
  await sql('create table passing (id int primary key)');
  await sql(`select rowcast.watch('passing')`);
  await sql('drop table passing');
  await sql(`select rowcast.watch('messages', 'MESSAGE')`);
  expect(await sql('select from rowcast.watched')).toHaveLength(2);
  expect(
    await sql(
      `select from pg_proc where proname like 'capture%' and prorettype = 'trigger'::regtype`,
    ),
  ).toHaveLength(2);
});
