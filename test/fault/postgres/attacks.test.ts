import { once } from 'node:events';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../../src/postgres/migrations.ts';
import { stranger } from '../../support/postgres/stranger.ts';
import { World } from '../../support/world.ts';

test('twenty thousand notifications of a stranger start a run or two, on no new connection', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  const { client: attacker } = await stranger(world);
  const mine = `select pid from pg_stat_activity where application_name like 'rowcast %' and usename = current_user
    and datname = current_database() order by pid`;
  const before = await world.sql(mine);
  for (const channel of ['rowcast_control', 'rowcast_send', 'rowcast_messages'])
    await attacker.query(`select count(pg_notify($1, g::text)) from generate_series(1, 20000) g`, [
      channel,
    ]);
  await world.sql(`insert into messages (content) values ('all the same')`);
  await client.received(1);
  expect(await world.sql(mine)).toEqual(before);
  expect(relay.role).toBe('leader');
});

test('a stranger who has every advisory lock keeps no relay from leading, and no table from being watched', async () => {
  const world = await World.start();
  const { client: attacker } = await stranger(world);
  for (const key of [1, 2, 3]) await attacker.query(`select pg_advisory_lock(1919907683, ${key})`);
  const leader = await world.relay();
  expect(leader.role).toBe('leader');
  const client = await world.live();
  await world.sql(`create table watched_now (id int primary key)`);
  await world.sql(`select rowcast.watch('watched_now')`);
  await world.sql(`insert into watched_now values (1)`);
  await client.received(1);
  const standby = await world.relay();
  expect(standby.role).toBe('standby');
  const leads = once(standby, 'role');
  await leader.stop();
  expect(await leads).toEqual(['leader']);
});

test("a stranger who has the doorbell's lock is noticed and named, nobody rings for him, and when he is gone all is as before", async () => {
  const world = await World.start();
  const relay = await world.relay();
  await once(relay, 'asleep');
  const client = await world.live();
  const { role, client: attacker } = await stranger(world);
  const locks = attacker.query('select pg_advisory_lock(1919907683, 1)').catch(() => undefined);
  await expect.poll(() => relay.state?.doorbellTaken, { timeout: 10_000 }).toBe(true);
  await locks;
  expect(await world.sql('select role, application from rowcast.doorbell_holders()')).toEqual([
    { role, application: 'rowcast lease prod-1' },
  ]);
  let rings = 0;
  relay.on('rung', () => rings++);
  for (let n = 1; n <= 20; n++)
    await world.sql(`insert into messages (content) values ('row ${n}')`);
  await client.received(20);
  expect(rings).toBe(0);
  await attacker.end();
  await world.sql(`update rowcast.lease set quiet_until = '-infinity'`);
  await once(relay, 'asleep');
  expect(relay.state?.doorbellTaken).toBe(false);
  const rung = once(relay, 'rung');
  await world.sql(`insert into messages (content) values ('rung for')`);
  await rung;
  await client.received(21);
});

test('a stranger who has the lock of node-pg-migrate keeps no migration waiting, and two that start together run each once', async () => {
  const world = await World.start();
  const { client: attacker } = await stranger(world);
  await attacker.query(`select pg_advisory_lock(7241865325823964)`);
  const { url } = world.database;
  const step = (direction: 'up' | 'down') =>
    migrate(
      {
        database: { connectionString: url },
        log: pino({ level: 'silent' }),
        signal: new AbortController().signal,
      },
      direction === 'up' ? { direction } : { direction, count: 99 },
    );
  const down = await step('down');
  expect(down.length).toBeGreaterThan(3);
  const both = await Promise.all([step('up'), step('up')]);
  expect(both.flat().sort()).toEqual(down.sort());
  expect(await world.sql('select name from rowcast.migrations order by name')).toEqual(
    down.map((name) => ({ name })),
  );
});

test('a stranger may neither read nor change the lease, the cursor, the key of cursors or the log', async () => {
  const world = await World.start();
  await world.relay();
  const { client: attacker } = await stranger(world, 'grant usage on schema rowcast to ROLE');
  for (const statement of [
    `update rowcast.lease set until = '-infinity'`,
    `select rowcast.take_lease('me')`,
    `select rowcast.report_online(1, '[]', '{}', true)`,
    `select rowcast.renew_lease(gen_random_uuid())`,
    `update rowcast.cursor set term = 99`,
    'select cursor_key from rowcast.installation',
    'select rowcast.rotate_cursor_key()',
    'select data from rowcast.event',
    `insert into rowcast.event (type, audience) values ('x', '{all}')`,
    `select rowcast.append_1('INSERT', '{all}', '{}', null, null, null)`,
    `select rowcast.watch('messages')`,
    'do $$ begin lock table rowcast.capture in share row exclusive mode; end $$',
    'do $$ begin lock table rowcast.lease in access share mode; end $$',
  ])
    await expect(attacker.query(statement), statement).rejects.toThrow(/permission denied/);
});

test('the owner of a watched table makes events of that table only, and loses every right with the watch', async () => {
  const world = await World.start();
  const { client: owner, role } = await stranger(world, 'grant create on schema public to ROLE');
  await owner.query('create table theirs (id int primary key)');
  await world.sql(`select rowcast.watch('theirs', audience => '{role:support}')`);
  await owner.query('insert into theirs values (1)');
  for (const type of [`'READY'`, `'NEW_COMPLAINT'`, `repeat('x', 540000000)`])
    await expect(
      owner.query(`insert into rowcast.event (type, audience) values (${type}, '{all}')`),
    ).rejects.toThrow(/permission denied/);
  const [append] = await world.sql<{ name: string }>(
    `select replace(function, 'capture', 'append') as name from rowcast.capture where target = 'theirs'::regclass`,
  );
  const call = `select rowcast.${append?.name}($1, $2, '{"id":2}', null, null, null)`;
  await owner.query(call, ['READY', '{user:alice}']);
  const forged = await world.sql(
    `select type, audience, source from rowcast.event order by id desc limit 1`,
  );
  expect(forged).toEqual([
    { type: 'TRUNCATE_THEIRS', audience: ['role:support'], source: 'public.theirs' },
  ]);
  await world.sql(`select rowcast.unwatch('theirs')`);
  await expect(owner.query(call, ['INSERT', '{all}'])).rejects.toThrow(/permission denied/);
  await expect(owner.query(`select rowcast.broadcast('x', '1')`)).rejects.toThrow(
    /permission denied/,
  );
  expect(
    await world.sql(`select has_schema_privilege($1, 'rowcast', 'usage') as may`, [role]),
  ).toEqual([{ may: false }]);
});

test('a table that changes hands leaves its former owner without a right once it is watched again', async () => {
  const world = await World.start();
  const { client: former, role } = await stranger(world, 'grant create on schema public to ROLE');
  await former.query('create table theirs (id int primary key)');
  await world.sql(`select rowcast.watch('theirs')`);
  await world.sql('alter table theirs owner to current_user');
  await world.sql(`select rowcast.rewatch('theirs')`);
  expect(
    await world.sql(
      `select has_schema_privilege($1, 'rowcast', 'usage') as uses, exists (
        select from pg_proc where pronamespace = 'rowcast'::regnamespace and proowner = $1::regrole) as owns`,
      [role],
    ),
  ).toEqual([{ uses: false, owns: false }]);
  await world.sql('insert into theirs values (1)');
  expect(await world.sql('select type from rowcast.event')).toEqual([{ type: 'NEW_THEIRS' }]);
});

/** Each makes a column whose JSON would call `wicked`, were it trusted. */
const TYPES: [what: string, sql: string, column: string, value: string][] = [
  ['an enum', `create type TYPE as enum ('new')`, 'TYPE', `'new'`],
  ['an array of it', `create type TYPE as enum ('new')`, 'TYPE[]', `'{new}'`],
  [
    'a composite',
    `create type TYPE as enum ('new'); create type TYPE_pair as (a int, b TYPE)`,
    'TYPE_pair',
    `row(1, 'new')`,
  ],
  ['a range', `create type TYPE as range (subtype = int4)`, 'TYPE', `'[1,5)'`],
  [
    'a domain over it',
    `create type TYPE as enum ('new'); create domain TYPE_domain as TYPE`,
    'TYPE_domain',
    `'new'`,
  ],
];

test.each(TYPES)(
  "a third party's cast of %s is never called, by watch, key, audience or later column",
  async (_, sql, column, value) => {
    const world = await World.start();
    const { client: evil, role } = await stranger(world);
    const type = `${role}.status`;
    const named = (text: string) => text.replaceAll('TYPE', type);
    await world.sql(
      `create schema ${role} authorization ${role}; grant usage on schema ${role} to public`,
    );
    onTestFinished(() => world.sql(`drop schema if exists ${role} cascade`).then(() => undefined));
    await evil.query(named(sql));
    const columns = `id int primary key, st ${named(column)}`;
    await world.sql(`create table at_watch (${columns})`);
    await world.sql('create table later (id int primary key)');
    await world.sql(
      `select rowcast.watch('at_watch', audience => '{user:<st>}'), rowcast.watch('later')`,
    );
    await world.sql(`alter table later add st ${named(column)}`);
    await evil.query(
      `create function ${role}.wicked(${type}) returns json language plpgsql as
      $$ begin raise exception 'called as %', current_user; end $$;
    create function ${role}.wicked_text(${type}) returns text language plpgsql as
      $$ begin raise exception 'called as %', current_user; end $$;
    create cast (${type} as json) with function ${role}.wicked(${type}) as assignment;
    create cast (${type} as text) with function ${role}.wicked_text(${type}) as implicit`,
    );
    await world.sql(`insert into at_watch values (1, ${value})`);
    await world.sql(`insert into later values (1, ${value})`);
    await world.sql(`select rowcast.rewatch('at_watch'), rowcast.rewatch('later')`);
    await world.sql(`insert into later values (2, ${value})`);
    await world.sql(`update at_watch set id = 2`);
    const rows = await world.sql<{ problem: string | null; whole: boolean }>(
      'select problem, data is not null as whole from rowcast.event',
    );
    expect(rows).toHaveLength(4);
    for (const row of rows) expect(row).toEqual({ problem: null, whole: true });
  },
);

test('default privileges give nobody a right on the schema or the log', async () => {
  const world = await World.start();
  const { role } = await stranger(world);
  await world.sql(`alter default privileges grant all on tables to ${role}, public;
    alter default privileges grant usage on schemas to ${role}, public`);
  onTestFinished(() =>
    world
      .sql(`alter default privileges revoke all on tables from public;
        alter default privileges revoke usage on schemas from public`)
      .then(() => undefined),
  );
  const { command } = await import('../../support/process/command.ts');
  const migrated = { DATABASE_URL: world.database.url };
  expect(await command(['migrate', 'down', '5'], migrated)).toMatchObject({ code: 0 });
  expect(await command(['migrate', 'up'], migrated)).toMatchObject({ code: 0 });
  const given = await world.sql(
    `select c.relname from pg_class c cross join aclexplode(c.relacl) a
     where c.relnamespace = 'rowcast'::regnamespace and a.grantee <> c.relowner and c.relkind in ('r', 'v')
     union all select nspname from pg_namespace n cross join aclexplode(n.nspacl) a
     where n.nspname = 'rowcast' and a.grantee <> n.nspowner`,
  );
  expect(given).toEqual([]);
});
