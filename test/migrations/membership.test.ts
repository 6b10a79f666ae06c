import { beforeEach, expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client, events } = databaseOfEachTest();

beforeEach(async () => {
  await sql('create table members (id serial primary key, user_id int, team_id text)');
});
const take = () => sql(`select rowcast.rooms_from('members', 'user_id', 'team-<team_id>')`);
const members = async () =>
  (
    await sql<{ member: string }>(
      `select user_id || ' ' || room as member from rowcast.member order by 1`,
    )
  ).map(({ member }) => member);
const problems = async () =>
  (await sql<{ problem: string | null }>('select problem from rowcast.room_sources')).map(
    ({ problem }) => problem,
  );

test('rows that are there, that come, change and go put users in rooms', async () => {
  await sql(
    `insert into members (user_id, team_id) values (1, 'a'), (2, 'a'), (3, null), (null, 'a')`,
  );
  await take();
  expect(await members()).toEqual(['1 team-a', '2 team-a']);
  await sql(`insert into members (user_id, team_id) values (3, 'b')`);
  await sql(`update members set team_id = 'c' where user_id = 2`);
  await sql('delete from members where user_id = 1');
  expect(await members()).toEqual(['2 team-c', '3 team-b']);
  await sql(`update members set team_id = null where user_id = 2`);
  expect(await members()).toEqual(['3 team-b']);
  await sql('truncate members');
  expect(await members()).toEqual([]);
});

test('a user stays in a room until the last row that says so is gone', async () => {
  await take();
  await sql(`insert into members (user_id, team_id) select 1, 'a' from generate_series(1, 3)`);
  await sql('delete from members where id < 3');
  expect(await members()).toEqual(['1 team-a']);
  await sql('delete from members');
  expect(await members()).toEqual([]);
});

test('two tables that say the same are both heard', async () => {
  await sql('create table guests (guest int, team text)');
  await take();
  await sql(`select rowcast.rooms_from('guests', user_id => 'guest', room => 'team-<team>')`);
  await sql(`insert into members (user_id, team_id) values (1, 'a')`);
  await sql(`insert into guests values (1, 'a')`);
  await sql('delete from members');
  expect(await members()).toEqual(['1 team-a']);
  await sql(`select rowcast.no_rooms_from('guests')`);
  expect(await members()).toEqual([]);
  await sql(`insert into guests values (2, 'a')`);
  expect(await members()).toEqual([]);
});

test('a transaction is one event of the log, however many rows, and one that changes nothing is none', async () => {
  await take();
  await sql('delete from rowcast.event');
  await sql(`insert into members (user_id, team_id) select n, 'a' from generate_series(1, 5000) n`);
  expect(await events()).toEqual(['MEMBERS null']);
  await sql(`update members set team_id = 'a'`);
  await sql(`insert into members (user_id, team_id) values (1, 'a')`);
  expect(await events()).toEqual(['MEMBERS null']);
});

test('what is rolled back, to a savepoint too, has changed nothing', async () => {
  await take();
  await sql('delete from rowcast.event');
  const session = await client();
  await session.query('begin; savepoint one');
  await session.query(`insert into members (user_id, team_id) values (1, 'a')`);
  await session.query('rollback to one');
  await session.query('commit');
  expect([await members(), await events()]).toEqual([[], []]);
  await session.query('begin; savepoint one');
  await session.query(`insert into members (user_id, team_id) values (1, 'a')`);
  await session.query('rollback to one');
  await session.query(`insert into members (user_id, team_id) values (2, 'a')`);
  await session.query('commit');
  session.release();
  expect([await members(), await events()]).toEqual([['2 team-a'], ['MEMBERS null']]);
});

test('called again it takes the table anew, and leaves alone whoever stays', async () => {
  await take();
  await sql(`insert into members (user_id, team_id) values (1, 'a'), (2, 'a')`);
  const [before] = await sql(`select joined_id from rowcast.membership where user_id = '1'`);
  // As a restore does it, or a partition that is detached.
  await sql('alter table members disable trigger all');
  await sql(`insert into members (user_id, team_id) values (3, 'a')`);
  await sql('delete from members where user_id = 2');
  expect(await problems()).toEqual([expect.stringMatching(/trigger.*missing or disabled; call/)]);
  await take();
  expect(await members()).toEqual(['1 team-a', '3 team-a']);
  expect(await problems()).toEqual([null]);
  expect(await sql(`select joined_id from rowcast.membership where user_id = '1'`)).toEqual([
    before,
  ]);
  await sql(`select rowcast.rooms_from('members', 'user_id', 'club-<team_id>')`);
  expect(await members()).toEqual(['1 club-a', '3 club-a']);
});

test('a column that is renamed breaks no write, puts everybody out, and says so until it is mended', async () => {
  await take();
  await sql(`insert into members (user_id, team_id) values (1, 'a'), (2, 'a')`);
  await sql('alter table members rename team_id to club_id');
  expect(await problems()).toEqual([expect.stringMatching(/column team_id was renamed.*call/)]);
  await sql('delete from members where user_id = 1');
  await sql(`insert into members (user_id, club_id) values (3, 'a')`);
  expect(await members()).toEqual([]);
  expect(await problems()).toEqual([expect.stringMatching(/could not be read.*call/)]);
  await sql(`select rowcast.rooms_from('members', 'user_id', 'team-<club_id>')`);
  expect(await members()).toEqual(['2 team-a', '3 team-a']);
  expect(await problems()).toEqual([null]);
});

test('a table that is dropped puts nobody in a room, and one that has its name is taken instead', async () => {
  await take();
  await sql(`insert into members (user_id, team_id) values (1, 'a')`);
  await sql('create table members_new (like members including all)');
  await sql(`insert into members_new (id, user_id, team_id) values (2, 2, 'a')`);
  await sql('alter table members rename to members_old');
  await sql('alter table members_new rename to members');
  expect(await problems()).toEqual([expect.stringMatching(/is another table now/)]);
  await take();
  expect(await members()).toEqual(['2 team-a']);
  await sql(`insert into members_old (user_id, team_id) values (9, 'a')`);
  await sql('drop table members');
  expect(await members()).toEqual([]);
  expect(await problems()).toEqual([expect.stringMatching(/dropped; select rowcast.forget_/)]);
  await sql('select rowcast.forget_dropped_rooms()');
  expect(await sql('select from rowcast.membership where left_id is null')).toEqual([]);
});

test('partitions: rows through the parent and straight to one, moved between two', async () => {
  await sql('create table parted (user_id int, team text) partition by list (team)');
  await sql(`create table parted_a partition of parted for values in ('a')`);
  await sql(`select rowcast.rooms_from('parted', 'user_id', '<team>')`);
  await sql(`create table parted_b partition of parted for values in ('b')`);
  await sql(`insert into parted values (1, 'a')`);
  await sql(`insert into parted_b values (2, 'b')`);
  expect(await members()).toEqual(['1 a', '2 b']);
  await sql(`update parted set team = 'b' where user_id = 1`);
  expect(await members()).toEqual(['1 b', '2 b']);
  expect(await problems()).toEqual([null]);
});

test.each([
  [
    'a view',
    `create view v as select 1 as user_id`,
    `'v', 'user_id', 'x'`,
    /not a table, and nothing tells.*Keep who is in which room in a table/,
  ],
  [
    'a materialized view',
    `create materialized view v as select 1 as user_id`,
    `'v', 'user_id', 'x'`,
    /not a table/,
  ],
  ['no table', 'select 1', `null, 'user_id', 'x'`, /no table was given/],
  ['a table of Postgres', 'select 1', `'pg_class', 'relname', 'x'`, /no table of the application/],
  ['a column that is not there', 'select 1', `'members', 'who', 'x'`, /has no column 'who'/],
  [
    'a column of the room that is not there',
    'select 1',
    `'members', 'user_id', 'x-<what>'`,
    /has no column 'what'/,
  ],
  [
    'a column in brackets',
    'select 1',
    `'members', '<user_id>', 'x'`,
    /user_id is '<user_id>'.*without brackets/,
  ],
  ['no room', 'select 1', `'members', 'user_id', ''`, /room is ''/],
  ['an unpaired bracket', 'select 1', `'members', 'user_id', 'x-<team_id'`, /unpaired/],
] as const)('%s is refused with what is wrong and a hint', async (_, setup, args, told) => {
  await sql(setup);
  const refused = await sql(`select rowcast.rooms_from(${args})`).catch((error) => error);
  expect(`${refused.message} ${refused.hint}`).toMatch(told);
  expect(await problems()).toEqual([]);
});

test('a writer needs no right on the schema, and cannot read who is in which room', async () => {
  await take();
  const role = `writer_${Math.random().toString(36).slice(2)}`;
  await sql(`create role ${role}`);
  await sql(`grant all on members, members_id_seq to ${role}`);
  const session = await client();
  await session.query(`set role ${role}`);
  await session.query(`insert into members (user_id, team_id) values (1, 'a')`);
  await session.query(`update members set team_id = 'b'`);
  await expect(session.query('select from rowcast.member')).rejects.toThrow(/permission denied/);
  await expect(session.query(`select rowcast.rooms_1()`)).rejects.toThrow(/permission denied/);
  await session.query('reset role');
  await session.query(`grant usage on schema rowcast to ${role}`);
  await session.query(`set role ${role}`);
  for (const call of [`join_room(1, '9', 'team-b')`, `leave_room(1, '1', 'team-b')`])
    await expect(session.query(`select rowcast.${call}`)).rejects.toThrow(/permission denied/);
  await expect(session.query('select from rowcast.membership')).rejects.toThrow(/denied/);
  await session.query('reset role');
  session.release();
  expect(await members()).toEqual(['1 team-b']);
  await sql(`drop owned by ${role}`);
  await sql(`drop role ${role}`);
});

test('a session that replicates, and one whose constraints are immediate, are heard as any other', async () => {
  await take();
  await sql('delete from rowcast.event');
  const session = await client();
  await session.query('set session_replication_role = replica');
  await session.query(`insert into members (user_id, team_id) values (1, 'a')`);
  await session.query('reset session_replication_role');
  await session.query('begin; set constraints all immediate');
  await session.query(`insert into members (user_id, team_id) values (2, 'a')`);
  await session.query(`insert into members (user_id, team_id) values (3, 'a')`);
  await session.query('commit');
  session.release();
  expect(await members()).toEqual(['1 team-a', '2 team-a', '3 team-a']);
  expect(await events()).toEqual(['MEMBERS null', 'MEMBERS null']);
});

test('two writers that join and leave one room at once wait for each other, and nobody is lost', async () => {
  await take();
  await sql(`insert into members (id, user_id, team_id) values (100, 1, 'a')`);
  const [one, two] = [await client(), await client()];
  await one.query('begin; delete from members where id = 100');
  const joining = two.query(`insert into members (user_id, team_id) values (1, 'a')`);
  await one.query('commit');
  await joining;
  expect(await members()).toEqual(['1 team-a']);
  await one.query(`begin; insert into members (user_id, team_id) values (2, 'a')`);
  const also = two.query(`insert into members (user_id, team_id) values (2, 'a')`);
  await one.query('commit');
  await also;
  await sql('delete from members where id = (select max(id) from members)');
  expect(await members()).toEqual(['1 team-a', '2 team-a']);
  for (const session of [one, two]) session.release();
});

test('retention keeps a stay that is over as long as the log has something from its time', async () => {
  await take();
  const kept = async () => (await sql('select from rowcast.membership')).length;
  await sql(`insert into members (user_id, team_id) values (1, 'a'), (2, 'a')`);
  await sql(`insert into messages (content) values ('in its time')`);
  await sql('delete from members where user_id = 1');
  await sql(`insert into messages (content) values ('after it')`);
  const remove = (batch: number) =>
    sql(`select rowcast.remove_old('1 hour', '1 day', $1)`, [batch]);
  await sql(`update rowcast.event set occurred_at = now() - interval '2 days'`);
  await remove(3);
  expect(await kept()).toBe(2);
  await remove(10);
  expect(await kept()).toBe(1);
  expect(await members()).toEqual(['2 team-a']);
  expect(await sql('select from rowcast.membership_commit')).toEqual([]);
});

test('a copy that is adopted has its members, and none of the transactions of the other', async () => {
  await take();
  await sql(`insert into members (user_id, team_id) values (1, 'a'), (2, 'a')`);
  await sql('delete from members where user_id = 1');
  await sql(`update rowcast.membership set joined_xid = '999999999999'`);
  await sql('select rowcast.adopt()');
  expect(await members()).toEqual(['2 team-a']);
  expect(
    await sql('select from rowcast.membership where joined_xid > pg_current_xact_id()'),
  ).toEqual([]);
});
