import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client, events, watchedItems } = databaseOfEachTest();

test('COPY, also of many rows', async () => {
  await watchedItems();
  await sql(`copy item from program 'printf "1\\t10\\n2\\t20\\n"'`);
  expect(await events()).toEqual(['NEW_ITEM {"id":1,"n":10}', 'NEW_ITEM {"id":2,"n":20}']);
});

test('INSERT … ON CONFLICT: an insert or an update, whichever it was, and nothing for DO NOTHING', async () => {
  await watchedItems();
  const upsert = `insert into item values ($1, $2) on conflict (id) do update set n = excluded.n`;
  await sql(upsert, [1, 10]);
  await sql(upsert, [1, 11]);
  await sql(upsert, [1, 11]);
  await sql('insert into item values (1, 99), (2, 20) on conflict do nothing');
  expect(await events()).toEqual([
    'NEW_ITEM {"id":1,"n":10}',
    'UPDATE_ITEM {"id":1,"n":11}',
    'NEW_ITEM {"id":2,"n":20}',
  ]);
});

test('MERGE: each action by what it did', async ({ skip }) => {
  const [version] = await sql<{ number: number }>(
    `select current_setting('server_version_num')::int as number`,
  );
  if (Number(version?.number) < 150000) skip('MERGE came with Postgres 15');
  await sql('create table item (id int primary key, n int)');
  await sql('insert into item values (1, 10), (2, 20)');
  await sql(`select rowcast.watch('item')`);
  await sql(`merge into item using (values (1, 11), (2, null), (3, 30)) s (id, n) on item.id = s.id
    when matched and s.n is null then delete when matched then update set n = s.n when not matched then insert values (s.id, s.n)`);
  expect((await events()).sort()).toEqual([
    'DELETE_ITEM {"id":2,"n":20}',
    'NEW_ITEM {"id":3,"n":30}',
    'UPDATE_ITEM {"id":1,"n":11}',
  ]);
});

test('statements that write in a WITH, and what functions and other triggers write', async () => {
  await watchedItems();
  await sql(
    'with gone as (insert into item values (1, 10) returning id) insert into item select id + 1, 20 from gone',
  );
  await sql(`do $$ begin insert into item values (3, 30); delete from item where id = 1; end $$`);
  expect((await events()).sort()).toEqual([
    'DELETE_ITEM {"id":1,"n":10}',
    'NEW_ITEM {"id":1,"n":10}',
    'NEW_ITEM {"id":2,"n":20}',
    'NEW_ITEM {"id":3,"n":30}',
  ]);
});

test('cascades delete, and set null, as statements do', async () => {
  await watchedItems();
  await sql('create table part (id int primary key, item int references item on delete cascade)');
  await sql('create table note (id int primary key, item int references item on delete set null)');
  await sql('insert into item values (1, 10)');
  await sql('insert into part values (1, 1)');
  await sql('insert into note values (1, 1)');
  await sql(`select rowcast.watch('part'), rowcast.watch('note')`);
  await sql('delete from item');
  expect(await events()).toEqual([
    'NEW_ITEM {"id":1,"n":10}',
    'DELETE_ITEM {"id":1,"n":10}',
    'DELETE_PART {"id":1,"item":1}',
    'UPDATE_NOTE {"id":1,"item":null}',
  ]);
});

test('TRUNCATE, with its cascade, is one event a table, and not at all where deletes are not watched', async () => {
  await watchedItems();
  await sql('create table part (id int primary key, item int references item)');
  await sql('create table log (id int primary key)');
  await sql(`select rowcast.watch('part'), rowcast.watch('log', operations => '{insert}')`);
  await sql('insert into item values (1, 10), (2, 20)');
  await sql('truncate item, log cascade');
  expect((await events()).slice(2).sort()).toEqual(['TRUNCATE_ITEM null', 'TRUNCATE_PART null']);
});

test('an update that changes the primary key brings the new row, and the old one where it is asked for', async () => {
  await watchedItems(`, include_old => true`);
  await sql('insert into item values (1, 10)');
  await sql('update item set id = 2');
  await sql('delete from item');
  expect((await events()).slice(1)).toEqual([
    'UPDATE_ITEM {"id":2,"n":10} < {"id":1,"n":10}',
    'DELETE_ITEM {"id":2,"n":10} < {"id":2,"n":10}',
  ]);
});

test('a change that a trigger of the application makes to the row is logged after the one that led to it', async () => {
  await watchedItems();
  await sql(`create function tenfold() returns trigger language plpgsql as $$
    begin update item set n = new.n * 10 where id = new.id and n < 100; return null; end $$`);
  await sql(
    'create trigger a_tenfold after insert or update on item for each row execute function tenfold()',
  );
  await sql('insert into item values (1, 5)');
  expect(await events()).toEqual([
    'NEW_ITEM {"id":1,"n":5}',
    'UPDATE_ITEM {"id":1,"n":50}',
    'UPDATE_ITEM {"id":1,"n":500}',
  ]);
});

test('a row is captured as BEFORE triggers leave it', async () => {
  await watchedItems();
  await sql(`create function doubled() returns trigger language plpgsql as $$
    begin if new.n = 0 then return null; end if; new.n := new.n * 2; return new; end $$`);
  await sql(
    'create trigger zz_doubled before insert or update on item for each row execute function doubled()',
  );
  await sql('insert into item values (1, 5), (2, 0)');
  expect(await events()).toEqual(['NEW_ITEM {"id":1,"n":10}']);
});

test('partitions: rows through the parent, straight to one, moved between two, and in one that came later', async () => {
  await sql('create table part (id int, at int, primary key (id, at)) partition by range (at)');
  await sql('create table part_low partition of part for values from (0) to (10)');
  await sql(
    'create table part_wide (note text, at int not null, id int not null, primary key (id, at))',
  );
  await sql('alter table part_wide drop column note');
  await sql('alter table part attach partition part_wide for values from (10) to (20)');
  await sql(`select rowcast.watch('part', columns => '{id,at}')`);
  await sql('create table part_late partition of part for values from (20) to (30)');
  await sql('insert into part values (1, 1)');
  await sql('insert into part_wide (id, at) values (2, 11)');
  await sql('insert into part values (3, 21)');
  await sql('update part set at = 15 where id = 1');
  await sql('alter table part detach partition part_late');
  await sql('insert into part_late values (4, 22)');
  await sql('truncate part');
  expect(await events()).toEqual([
    'NEW_PART {"id":1,"at":1}',
    'NEW_PART {"id":2,"at":11}',
    'NEW_PART {"id":3,"at":21}',
    'DELETE_PART {"id":1,"at":1}',
    'NEW_PART {"id":1,"at":15}',
    'TRUNCATE_PART null',
  ]);
});

test('savepoints and exceptions: only what was kept, in one transaction id', async () => {
  await watchedItems();
  await sql(`do $$ begin
    insert into item values (1, 1);
    begin insert into item values (2, 2); raise exception 'no'; exception when others then null; end;
    begin insert into item values (3, 3); exception when others then null; end;
  end $$`);
  expect(await events()).toEqual(['NEW_ITEM {"id":1,"n":1}', 'NEW_ITEM {"id":3,"n":3}']);
  expect(await sql('select distinct xid from rowcast.event')).toHaveLength(1);
});

test('a replication role, as restores and logical replication have it, writes like any other', async () => {
  await watchedItems();
  const session = await client();
  await session.query('set session_replication_role = replica');
  await session.query('insert into item values (1, 1)');
  await session.query('truncate item');
  await session.query('reset session_replication_role');
  session.release();
  expect(await events()).toEqual(['NEW_ITEM {"id":1,"n":1}', 'TRUNCATE_ITEM null']);
});
