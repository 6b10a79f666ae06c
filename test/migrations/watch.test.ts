import { expect, onTestFinished, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client } = databaseOfEachTest();

const FIXTURES = `
  create table plain (id int primary key, owner text);
  create table keyless (id int);
  create view a_view as select 1 as n;
  create materialized view a_matview as select 1 as n;
  create sequence a_sequence;
  create table parted (id int primary key) partition by range (id);
  create table parted_low partition of parted for values from (0) to (10);
  create table other (id int primary key) partition by range (id);
  create table other_low partition of other for values from (0) to (10);
  select rowcast.watch('parted'), rowcast.watch('other_low');`;

test.each([
  [`rowcast.watch('nowhere')`, /relation "nowhere" does not exist/],
  [`rowcast.watch(null)`, /no table was given/],
  [`rowcast.watch('pg_class')`, /pg_class belongs to schema pg_catalog/],
  [`rowcast.watch('information_schema.sql_features')`, /belongs to schema information_schema/],
  [`rowcast.watch('rowcast.event')`, /belongs to schema rowcast/],
  [`rowcast.watch('a_view')`, /a_view is not a table/],
  [`rowcast.watch('a_matview')`, /a_matview is not a table/],
  [`rowcast.watch('a_sequence')`, /a_sequence is not a table/],
  [`rowcast.watch('parted_low')`, /parted_low shares its rows with public.parted,/],
  [`rowcast.watch('other')`, /other shares its rows with public.other_low,/],
  [`rowcast.watch('keyless')`, /keyless has no primary key/],
  [`rowcast.watch('plain', audience => '{}')`, /audience is empty/],
  [`rowcast.watch('plain', audience => null)`, /audience is empty/],
  [`rowcast.watch('plain', audience => '{all,null}')`, /NULL is not an audience term/],
  [`rowcast.watch('plain', audience => '{everybody}')`, /'everybody' is not an audience term/],
  [`rowcast.watch('plain', audience => '{ALL}')`, /'ALL' is not an audience term/],
  [`rowcast.watch('plain', audience => '{user:<nope>}')`, /plain has no column 'nope'/],
  [`rowcast.watch('plain', audience => '{user:<OWNER>}')`, /plain has no column 'OWNER'/],
  [`rowcast.watch('plain', audience => '{user:<id}')`, /unpaired < or >/],
  [`rowcast.watch('plain', audience => '{user:<>}')`, /unpaired < or >/],
  [
    `rowcast.watch('plain', audience => array['room:' || repeat('x', 300)])`,
    /longer than 200 bytes/,
  ],
  [
    `rowcast.watch('plain', audience => array_fill('all'::text, array[1001]))`,
    /audience has 1001 terms/,
  ],
  [`rowcast.watch('plain', audience => '{{all},{role:x}}')`, /audience is a list of lists/],
  [`rowcast.watch('plain', columns => '{{id,owner}}')`, /columns or operations is a list of lists/],
  [`rowcast.watch('plain', columns => '{id,nope}')`, /plain has no column 'nope'/],
  [`rowcast.watch('plain', columns => '{id,null}')`, /plain has no column NULL/],
  [`rowcast.watch('plain', columns => '{ctid}')`, /plain has no column 'ctid'/],
  [`rowcast.watch('plain', columns => '{id,owner,id}')`, /columns names 'id' twice/],
  [`rowcast.watch('plain', columns => '{}')`, /columns is empty/],
  [`rowcast.watch('plain', operations => '{upsert}')`, /operations are '{upsert}'/],
  [`rowcast.watch('plain', operations => '{insert,null}')`, /operations are '{insert,NULL}'/],
  [`rowcast.watch('plain', operations => '{}')`, /operations are NULL/],
  [`rowcast.watch('plain', operations => null)`, /operations are NULL/],
  [`rowcast.watch('plain', entity => 'a b')`, /entity 'A B' cannot be part of a type/],
  [`rowcast.watch('plain', entity => '')`, /entity '' cannot be part of a type/],
  [`rowcast.watch('plain', entity => repeat('x', 64))`, /cannot be part of a type/],
  [`rowcast.watch('plain', entity => E'A\\nB')`, /cannot be part of a type/],
  [`rowcast.unwatch('plain')`, /plain is not watched/],
  [`rowcast.unwatch(null)`, /null is not watched/],
])('%s is refused with what is wrong and a hint', async (call, message) => {
  await sql(FIXTURES);
  const failure = await sql(`select ${call}`).catch(
    (error: unknown) => error as Error & { hint?: string },
  );
  expect(failure).toBeInstanceOf(Error);
  expect((failure as Error).message).toMatch(message);
  if (!/does not exist/.test((failure as Error).message))
    expect((failure as { hint?: string }).hint).toBeTruthy();
  expect(await sql(`select target::text from rowcast.watched order by 1`)).toHaveLength(4);
});

test('temporary and foreign tables are refused', async () => {
  const session = await client();
  await session.query('create temp table passing (id int primary key)');
  await expect(session.query(`select rowcast.watch('passing')`)).rejects.toThrow(
    /passing is a temporary table/,
  );
  session.release(true);
  await sql(`create foreign data wrapper nothing; create server away foreign data wrapper nothing;
    create foreign table far (id int) server away`);
  await expect(sql(`select rowcast.watch('far')`)).rejects.toThrow(/far is not a table/);
});

test('a table without a key can be watched where updates say which row it was', async () => {
  await sql('create table keyless (id int)');
  await sql(`select rowcast.watch('keyless', operations => '{insert,delete}')`);
  await sql(`select rowcast.watch('keyless', include_old => true)`);
  await sql('insert into keyless values (1)');
  await sql('update keyless set id = 2');
  expect(await sql('select old::text from rowcast.event where old is not null')).toEqual([
    { old: '{"id":1}' },
  ]);
});

test('a watch that is rolled back, or is part of the migration that makes the table', async () => {
  const session = await client();
  await session.query('begin');
  await session.query('create table fresh (id int primary key)');
  await session.query(`select rowcast.watch('fresh', 'first')`);
  await session.query('insert into fresh values (1)');
  await session.query('savepoint s');
  await session.query(`select rowcast.unwatch('fresh')`);
  await session.query('rollback to s');
  await session.query(`select rowcast.watch('fresh', 'second')`);
  await session.query('insert into fresh values (2)');
  await session.query('commit');
  session.release();
  expect(await sql('select type from rowcast.event order by id')).toEqual([
    { type: 'NEW_FIRST' },
    { type: 'NEW_SECOND' },
  ]);
});

test('the first watch of a table prints nothing, and inheritance is warned of', async () => {
  await sql('create table base (id int primary key)');
  const session = await client();
  const notices: (string | undefined)[] = [];
  session.on('notice', ({ message }) => notices.push(message));
  await session.query(`select rowcast.watch('base')`);
  expect(notices).toEqual([]);
  await session.query('create table derived () inherits (base)');
  await session.query(`select rowcast.watch('base')`);
  expect(notices).toEqual([
    expect.stringContaining('rows of tables that inherit from public.base are not captured'),
  ]);
  session.release();
});

test('rowcast.watched says what is watched, and what is wrong with it', async () => {
  await sql('create table task (id int primary key, owner text, note text)');
  await sql(
    `select rowcast.watch('task', audience => '{user:<owner>}', columns => '{id,note}', operations => '{INSERT,delete}')`,
  );
  const watched = async () =>
    (await sql(`select * from rowcast.watched where target = 'task'::regclass`))[0];
  expect(await watched()).toEqual({
    target: 'task',
    entity: 'TASK',
    audience: ['user:<owner>'],
    columns: ['id', 'note'],
    operations: ['insert', 'delete'],
    include_old: false,
    channel: 'rowcast_task',
    problem: null,
    warning: null,
    watched_at: expect.any(Date),
  });
  const again = `select rowcast.watch('task', audience => '{user:<owner>}', operations => '{insert}')`;
  await sql(again);
  await sql('alter table task disable trigger all');
  expect(await watched()).toMatchObject({
    problem: "a trigger of public.task is missing or disabled; select rowcast.rewatch('task')",
  });
  await sql('alter table task enable trigger all');
  expect(await watched()).toMatchObject({
    problem: expect.stringContaining('missing or disabled'),
  });
  await sql(again);
  expect(await watched()).toMatchObject({ problem: null });
  await sql('alter table task rename owner to "Owner"');
  expect(await watched()).toMatchObject({
    problem:
      'column owner was renamed or dropped; call rowcast.watch() with its new name and the other arguments',
  });
  await sql('alter table task rename "Owner" to owner');
  await sql('alter table task drop constraint task_pkey');
  expect(await watched()).toMatchObject({
    problem: "the table was altered since; select rowcast.rewatch('task')",
  });
  await sql('drop table task');
  expect(await sql('select target::text from rowcast.watched order by 1')).toEqual([
    { target: 'complaints' },
    { target: 'messages' },
  ]);
});

test('a partition whose triggers were disabled is reported, and repaired by watching again', async () => {
  await sql('create table part (id int primary key) partition by range (id)');
  await sql('create table part_low partition of part for values from (0) to (10)');
  await sql(`select rowcast.watch('part')`);
  await sql('alter table part_low disable trigger all');
  const problem = async () =>
    (await sql(`select problem from rowcast.watched where target = 'part'::regclass`))[0]?.problem;
  expect(await problem()).toMatch(/a trigger of public.part_low is missing or disabled/);
  await sql(`select rowcast.watch('part')`);
  expect(await problem()).toBeNull();
  await sql('insert into part_low values (1)');
  expect(await sql('select from rowcast.event')).toHaveLength(1);
});

test('many who watch the same tables at the same time do it one after the other, and leave nothing behind', async () => {
  await sql('create table a (id int primary key); create table b (id int primary key)');
  // Each waits for those before it, and gives up after three seconds.
  await Promise.all(
    Array.from({ length: 6 }, (_, n) =>
      sql(`select rowcast.watch('${n % 2 ? 'a' : 'b'}', entity => 'e${n}')`),
    ),
  );
  await sql(`select rowcast.unwatch('a'), rowcast.unwatch('b')`);
  expect(
    await sql(
      `select from pg_proc where proname like 'capture\\_%' and prorettype = 'trigger'::regtype`,
    ),
  ).toHaveLength(2);
});

test('partitions that are busy one after the other do not add up to a long wait', async () => {
  await sql('create table part (id int primary key) partition by range (id)');
  const writers = await Promise.all(
    [0, 1].map(async (n) => {
      await sql(
        `create table part_${n} partition of part for values from (${n * 10}) to (${n * 10 + 10})`,
      );
      return client();
    }),
  );
  for (const [n, writer] of writers.entries()) {
    await writer.query('begin');
    await writer.query(`insert into part_${n} values (${n * 10})`);
  }
  const watching = sql(`select rowcast.watch('part')`).then(
    () => 'watched',
    (error: Error) => error.message,
  );
  let over = false;
  void watching.then(() => {
    over = true;
  });
  const waits = () =>
    sql(
      `select from pg_locks where not granted and relation in ('part'::regclass, 'part_0'::regclass)`,
    );
  await expect.poll(async () => over || (await waits()).length > 0).toBe(true);
  // The first gives way after two of the three seconds; for the second one is left.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await writers[0]?.query('commit');
  const freedAt = performance.now();
  expect(await watching).toMatch(/lock timeout/);
  expect(performance.now() - freedAt).toBeLessThan(2500);
  await writers[1]?.query('commit');
  for (const writer of writers) writer.release();
});

test('a cast that the owner of a table wrote runs as that owner, and not as Rowcast', async () => {
  const owner = `owner_${Math.random().toString(36).slice(2)}`;
  const session = await client();
  await session.query(`create role ${owner}; grant create on schema public to ${owner}`);
  onTestFinished(async () => {
    await sql(`drop owned by ${owner} cascade; drop role ${owner}`);
  });
  await session.query(`set role ${owner}`);
  await session.query('create table theirs (id int primary key)');
  await session.query('reset role');
  await session.query(`select rowcast.watch('theirs', audience => '{user:<id>}')`);
  await session.query(`set role ${owner}`);
  await session.query(`
    create type evil as enum ('a');
    create function whoami(evil) returns json language sql as $$ select to_json(current_user) $$;
    create cast (evil as json) with function whoami(evil);
    alter table theirs add e evil;
    insert into theirs values (1, 'a')`);
  await session.query('reset role');
  session.release();
  expect(await sql('select data::text from rowcast.event')).toEqual([
    { data: `{"id":1,"e":"${owner}"}` },
  ]);
});

test('an owner who may not append is told of, and given the right by watching again', async () => {
  const [before, after] = ['before', 'after'].map(
    (name) => `${name}_${Math.random().toString(36).slice(2)}`,
  );
  await sql(
    `create role ${before}; create role ${after}; create table theirs (id int primary key); alter table theirs owner to ${before}`,
  );
  onTestFinished(() =>
    sql(`drop owned by ${before}, ${after} cascade; drop role ${before}, ${after}`).then(
      () => undefined,
    ),
  );
  await sql(`select rowcast.watch('theirs')`);
  await sql(`reassign owned by ${before} to ${after}`);
  const problem = async () =>
    (await sql(`select problem from rowcast.watched where target = 'theirs'::regclass`))[0]
      ?.problem;
  expect(await problem()).toMatch(/its owner may not append to the log/);
  await sql(`select rowcast.watch('theirs')`);
  expect(await problem()).toBeNull();
  await sql('insert into theirs values (1)');
  expect(await sql('select from rowcast.event')).toHaveLength(1);
});

test('a watch is repaired with the arguments that it has, whatever they address', async () => {
  await sql('create table secret (id int primary key, owner text, note text)');
  await sql(
    `select rowcast.watch('secret', 'own', '{user:<owner>}', '{id,note}', '{insert}', true)`,
  );
  const kept = async () =>
    (
      await sql(
        `select entity, audience, columns, operations, include_old, problem from rowcast.watched where target = 'secret'::regclass`,
      )
    )[0];
  const before = await kept();
  await sql('alter table secret disable trigger all');
  await sql(`select rowcast.rewatch('secret')`);
  expect(await kept()).toEqual(before);
  await sql(`insert into secret values (1, 'ada', 'hers')`);
  expect(await sql('select type, audience from rowcast.event order by id desc limit 1')).toEqual([
    { type: 'NEW_OWN', audience: ['user:ada'] },
  ]);
  await sql('create table never (id int primary key)');
  await expect(sql(`select rowcast.rewatch('never')`)).rejects.toThrow(
    'rowcast: public.never is not watched',
  );
});
