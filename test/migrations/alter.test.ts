import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client, events } = databaseOfEachTest();
/** Virtual columns came with Postgres 18. */
const isVirtual = process.env.TEST_POSTGRES_VERSION !== '14';
const addressed = async () =>
  (
    await sql<{
      what: string;
    }>(`select type || ' ' || audience::text || ' ' || coalesce(data, key)::text as what
    from rowcast.event order by id`)
  ).map(({ what }) => what);
const problem = async (table: string) =>
  (
    await sql<{ problem: string | null }>(
      `select problem from rowcast.watched where target = to_regclass($1)`,
      [table],
    )
  )[0]?.problem;

test('the type of a column changes under a session that goes on: every row is captured whole, for whom it is', async () => {
  await sql(
    'create table invoice (id int primary key, customer_id int, state varchar(20), body text)',
  );
  await sql(
    `select rowcast.watch('invoice', audience => '{user:<customer_id>}', columns => '{id,state,body}', include_old => true)`,
  );
  const session = await client();
  // A session of a pool, whose plans outlive the change, and statements of the application that are
  // prepared in it.
  const insert = (id: number, body = '') =>
    session.query({
      name: 'insert',
      text: 'insert into invoice values ($1, 7, $2, $3)',
      values: [id, 'new', body],
    });
  await insert(1);
  await session.query(`update invoice set state = 'sent'`);
  await sql(
    'alter table invoice alter column customer_id type bigint, alter column state type text',
  );
  await insert(2);
  await session.query(`update invoice set state = 'paid' where id = 2`);
  await sql('alter table invoice alter column id type bigint');
  await insert(3, 'x'.repeat(40_000));
  await session.query('delete from invoice where id = 3');
  session.release();
  const all = await sql<{
    type: string;
    audience: string[];
    whole: boolean;
    key: object;
    problem: string | null;
  }>(
    `select type, audience, data is not null as whole, key, problem from rowcast.event order by id`,
  );
  expect(all.map(({ type }) => type)).toEqual([
    ...[
      'NEW_INVOICE',
      'UPDATE_INVOICE',
      'NEW_INVOICE',
      'UPDATE_INVOICE',
      'NEW_INVOICE',
      'DELETE_INVOICE',
    ],
  ]);
  for (const each of all)
    expect(each).toMatchObject({ audience: ['user:7'], whole: true, problem: null });
  expect(all[4]?.key).toEqual({ id: 3 });
  expect(await problem('invoice')).toBeNull();
});

test('a column is added whose cast to JSON fails: the row is written, sent as its key, counted and told', async () => {
  await sql('create table places (id int primary key, name text)');
  await sql(`select rowcast.watch('places')`);
  await sql(`create type shape as enum ('point', 'curve')`);
  await sql(`create function shape_json(s shape) returns json language plpgsql immutable as $$
    begin if s = 'curve' then raise exception 'no curves'; end if; return to_json(s::text); end $$`);
  await sql('create cast (shape as json) with function shape_json(shape)');
  await sql('alter table places add column area shape');
  await sql(`insert into places values (1, 'a', 'point'), (2, 'b', 'curve')`);
  expect(await addressed()).toEqual([
    'NEW_PLACES {all} {"id":1,"name":"a","area":"point"}',
    'NEW_PLACES {all} {"id":2}',
  ]);
  expect(await sql('select problem from rowcast.event where problem is not null')).toEqual([
    { problem: 'P0001: no curves' },
  ]);
  expect(await problem('places')).toMatch(
    /^1 of its rows since .* were not captured whole, .* SQLSTATE P0001/,
  );
  await sql(`select rowcast.rewatch('places')`);
  expect(await problem('places')).toBeNull();
});

test('an audience that cannot be computed addresses nobody, and does not vanish: it is counted and told', async () => {
  await sql('create table ticket (id int primary key, owner text)');
  await sql(`select rowcast.watch('ticket', audience => '{user:<owner>}')`);
  await sql('alter table ticket rename owner to holder');
  await sql(`insert into ticket values (1, 'ann')`);
  expect(await sql('select audience, data, problem from rowcast.event')).toEqual([
    { audience: [], data: null, problem: expect.stringMatching(/^42703: /) },
  ]);
  expect(await problem('ticket')).toMatch(/column owner was renamed or dropped/);
});

test('a table is swapped for a new one: the name that is not captured any more is told, and rewatch() goes over to it', async () => {
  await sql('create table stock (id int primary key, n int)');
  await sql(`select rowcast.watch('stock', audience => '{role:shop}', columns => '{id,n}')`);
  await sql('create table stock_new (like stock including all)');
  await sql(
    'begin; alter table stock rename to stock_old; alter table stock_new rename to stock; commit',
  );
  const told =
    /^public\.stock is another table now, which is not captured; select rowcast\.rewatch\('public\.stock'\)$/;
  expect(await problem('stock_old')).toMatch(told);
  await sql(`select rowcast.rewatch('stock_old')`);
  expect(await problem('stock_old')).toMatch(told);
  await sql(`select rowcast.watch('messages', 'MESSAGE')`);
  await sql('drop table stock_old');
  expect(await problem('stock')).toMatch(told);
  await sql(`select rowcast.watch('complaints', 'COMPLAINT')`);
  expect(await problem('stock')).toMatch(told);
  await sql(`select rowcast.rewatch('public.stock')`);
  expect(await problem('stock')).toBeNull();
  await sql('insert into stock values (1, 1)');
  expect(await addressed()).toEqual(['NEW_STOCK {role:shop} {"id":1,"n":1}']);
});

test('the watch goes over to the new table while the old one is still there, and a mere rename keeps it', async () => {
  await sql('create table stock (id int primary key)');
  await sql(`select rowcast.watch('stock', entity => 's')`);
  await sql('alter table stock rename to goods');
  expect(await problem('goods')).toMatch(/altered since/);
  await sql(`select rowcast.rewatch('goods')`);
  await sql('create table goods_new (id int primary key)');
  await sql(
    'begin; alter table goods rename to goods_old; alter table goods_new rename to goods; commit',
  );
  await sql(`select rowcast.rewatch('goods')`);
  expect(
    await sql('select target::text, channel from rowcast.watched where entity = $1', ['S']),
  ).toEqual([{ target: 'goods', channel: 'rowcast_goods' }]);
  await sql('insert into goods values (1)');
  await sql('insert into goods_old values (2)');
  expect(await events()).toEqual(['NEW_S {"id":1}']);
  expect(
    await sql(
      `select from pg_trigger where tgname like '!rowcast%' and tgrelid = 'goods_old'::regclass`,
    ),
  ).toEqual([]);
});

test('a key that INCLUDEs columns is its key columns', async () => {
  await sql('create table inc (note text, b int, a int, primary key (a, b) include (note))');
  await sql(`select rowcast.watch('inc')`);
  await sql(`insert into inc values (repeat('x', 5000), 2, 1)`);
  expect(await sql('select key::text from rowcast.event')).toEqual([{ key: '{"a":1,"b":2}' }]);
});

test('partitions that are foreign tables stand in the way of nothing: watch, rows, watch otherwise, unwatch', async () => {
  await sql('create extension if not exists postgres_fdw');
  await sql(`create server archive foreign data wrapper postgres_fdw options (dbname 'nowhere')`);
  await sql('create table reading (id int, at date not null, v int) partition by range (at)');
  await sql(
    `create table reading_2026 partition of reading for values from ('2026-01-01') to ('2027-01-01')`,
  );
  await sql(`select rowcast.watch('reading', include_old => true)`);
  await sql(
    `create foreign table reading_old partition of reading for values from ('2000-01-01') to ('2026-01-01') server archive`,
  );
  await sql(`insert into reading values (1, '2026-05-05', 5)`);
  expect(await problem('reading')).toBeNull();
  await sql(`select rowcast.watch('reading', include_old => true, audience => '{role:ops}')`);
  await sql(`insert into reading values (2, '2026-05-06', 6)`);
  expect(await addressed()).toEqual([
    'NEW_READING {all} {"id":1,"at":"2026-05-05","v":5}',
    'NEW_READING {role:ops} {"id":2,"at":"2026-05-06","v":6}',
  ]);
  await sql(`select rowcast.unwatch('reading')`);
  await sql(`insert into reading values (3, '2026-05-07', 7)`);
  expect(await events()).toHaveLength(2);
});

test.each(['control', 'send', 'heartbeat'])(
  'a table named %s has a channel that is none of ours',
  async (name) => {
    await sql(`create table ${name} (id int primary key)`);
    await sql(`select rowcast.watch('${name}')`);
    expect(
      await sql('select channel from rowcast.watched where target = to_regclass($1)', [name]),
    ).toEqual([{ channel: `rowcast_table_${name}` }]);
  },
);

test('watch() in a transaction whose deferred checks are still to come, or by a role that may not, says what to do', async () => {
  await sql('create table parent (id int primary key)');
  await sql(
    'create table kid (id int primary key, p int references parent deferrable initially deferred)',
  );
  const session = await client();
  await session.query('begin');
  await session.query('insert into kid values (1, null)');
  await session.query('insert into parent values (1)');
  await session.query('update kid set p = 1');
  await expect(session.query(`select rowcast.watch('kid')`)).rejects.toMatchObject({
    message: expect.stringMatching(/^rowcast: .*kid was changed in this transaction/),
    hint: expect.stringContaining('transaction of its own'),
  });
  await session.query('rollback');
  await session.query('begin; savepoint s');
  await session.query(`select rowcast.watch('kid')`);
  await session.query('rollback to s');
  await session.query(`select rowcast.watch('kid')`);
  await session.query('commit');
  const role = `stranger_${process.pid}`;
  await session.query(`create role ${role}; grant usage on schema rowcast to ${role}`);
  await session.query(`alter table parent owner to ${role}; set role ${role}`);
  for (const call of [
    `rowcast.watch('parent')`,
    `rowcast.unwatch('kid')`,
    `rowcast.rewatch('kid')`,
  ])
    await expect(session.query(`select ${call}`)).rejects.toMatchObject({
      message: `rowcast: permission denied: role ${role} may not change what is watched`,
      hint: expect.stringContaining('which applied the migrations'),
    });
  await session.query('reset role');
  await session.query(`drop owned by ${role} cascade; drop role ${role}`);
  session.release();
});

test('retention goes on behind rows that a wrong clock has stamped in the future', async () => {
  await sql(`select rowcast.broadcast('t', to_json(n)) from generate_series(1, 6) n`);
  await sql('update rowcast.cursor set delivered = pg_current_snapshot()');
  await sql(`update rowcast.event set occurred_at = case when id <= (select min(id) + 3 from rowcast.event) then now() + interval '10 years'
    else now() - interval '2 days' end`);
  const left = async () =>
    (await sql<{ n: number }>('select count(*)::int as n from rowcast.event'))[0]?.n;
  for (const expected of [4, 2, 0]) {
    await sql(`select rowcast.remove_old('1 day', '7 days', 2)`);
    expect(await left()).toBe(expected);
  }
});

test.runIf(isVirtual)(
  'a virtual column that fails on an update fails no writer, and its event goes to whom it is for',
  async () => {
    await sql(
      'create table g (id int primary key, b int, n int, v int generated always as (10 / n) virtual)',
    );
    await sql(`select rowcast.watch('g', audience => '{user:<b>}')`);
    await sql('insert into g values (1, 7, 1)');
    await sql('update g set n = 0');
    await sql('update g set n = 0');
    expect(await addressed()).toEqual([
      'NEW_G {user:7} {"id":1,"b":7,"n":1,"v":10}',
      'UPDATE_G {user:7} {"id":1}',
    ]);
  },
);

test('a type is dropped that a kept plan is of: the row is captured whole all the same', async () => {
  await sql(`create type colour as enum ('red', 'blue')`);
  await sql('create table paint (id int primary key, c colour, secret text)');
  await sql(`select rowcast.watch('paint', audience => '{room:<c>}', columns => '{id,c}')`);
  const session = await client();
  await session.query(`insert into paint values (1, 'red', 's')`);
  await session.query(`update paint set c = 'blue'`);
  await sql('alter table paint alter c type text using c::text');
  await sql('drop type colour');
  await session.query(`update paint set c = 'green'`);
  await session.query(`update paint set secret = 't'`);
  session.release();
  expect((await addressed()).slice(2)).toEqual([
    expect.stringMatching(
      /^UPDATE_PAINT \{(room:green,room:blue|room:blue,room:green)\} \{"id":1,"c":"green"\}$/,
    ),
  ]);
  expect(await problem('paint')).toMatch(/altered since/);
});

test('a table that is dropped and made again is watched again, or unwatched, by its name; down takes it away', async () => {
  for (const call of ['watch', 'unwatch', 'rewatch'] as const) {
    await sql('create table again (id int primary key)');
    await sql(`select rowcast.watch('again')`);
    await sql('drop table again; create table again (id int primary key)');
    await sql(`select rowcast.${call}('again')`);
    const watched = await sql(`select problem from rowcast.watched where entity = 'AGAIN'`);
    expect(watched).toEqual(call === 'unwatch' ? [] : [{ problem: null }]);
    await sql('drop table again');
    await sql(`select rowcast.watch('messages', 'MESSAGE')`);
  }
  await sql('create table again (id int primary key)');
  await sql(`select rowcast.watch('again')`);
  await sql('drop table again; create view again as select 1 as id');
  expect(await sql(`select from rowcast.watched where entity = 'AGAIN'`)).toEqual([]);
  await sql('drop view again; create table again (id int primary key)');
  await sql('select rowcast.unwatch(target) from rowcast.capture');
});

test('two watched tables that swap their names stay captured, each as it was', async () => {
  await sql('create table o (id int primary key); create table p (id int primary key)');
  await sql(
    `select rowcast.watch('o', audience => '{role:o}'); select rowcast.watch('p', audience => '{role:p}')`,
  );
  await sql(
    'begin; alter table o rename to tmp; alter table p rename to o; alter table tmp rename to p; commit',
  );
  await sql(`select rowcast.rewatch('o'); select rowcast.rewatch('p')`);
  expect(
    await sql(
      `select target::text, audience, problem from rowcast.watched where entity in ('O', 'P') order by 1`,
    ),
  ).toEqual([
    { target: 'o', audience: ['role:p'], problem: null },
    { target: 'p', audience: ['role:o'], problem: null },
  ]);
});

test('a session whose role replicates sends, watches and unwatches as any other', async () => {
  const session = await client();
  await session.query('create table r (id int primary key)');
  await session.query('set session_replication_role = replica');
  expect((await session.query(`select rowcast.send('x', '1') is not null as sent`)).rows).toEqual([
    { sent: true },
  ]);
  await session.query(`select rowcast.watch('r')`);
  await session.query('insert into r values (1)');
  await session.query(`select rowcast.unwatch('r')`);
  await session.query('select rowcast.refetch()');
  await session.query('reset session_replication_role');
  session.release();
  expect(await addressed()).toEqual(['x {all} 1', 'NEW_R {all} {"id":1}']);
});

test('a table in a schema that the relay may not use rings it all the same', async () => {
  const role = `reader_${process.pid}`;
  await sql(
    `create schema closed; create table closed.o (id int primary key); select rowcast.watch('closed.o')`,
  );
  const session = await client();
  await session.query(`create role ${role}; grant usage on schema rowcast to ${role}`);
  await session.query(`grant select on all tables in schema rowcast to ${role}; set role ${role}`);
  const { rows } = await session.query(`select problem from rowcast.watched where entity = 'O'`);
  expect(rows).toEqual([{ problem: null }]);
  await session.query('reset role');
  await session.query(`drop owned by ${role}; drop role ${role}`);
  session.release();
});

test('retention takes no row for older than those before it', async () => {
  await sql(`select rowcast.broadcast('t', to_json(n)) from generate_series(1, 4) n`);
  await sql(
    `update rowcast.event set occurred_at = case data::text when '2' then now() + interval '1 day' when '3' then '1970-01-01' else now() end`,
  );
  expect(await sql(`select removed from rowcast.remove_old('1 hour', '7 days', 5000)`)).toEqual([
    { removed: 0 },
  ]);
});
