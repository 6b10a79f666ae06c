import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { expect, inject, test } from 'vitest';
import { command } from '../../support/process/command.ts';
import { World } from '../../support/world.ts';

test('a database whose transactions are serializable by default: a relay makes none of the application fail', async () => {
  const world = await World.start();
  const name = new URL(world.database.url).pathname.slice(1);
  await world.sql(`alter database ${name} set default_transaction_isolation = 'serializable'`);
  await world.sql('create table account (id int primary key, balance int)');
  await world.sql('insert into account select i, 0 from generate_series(1, 20000) i');
  await world.sql('vacuum analyze account');
  await world.sql(
    `create table orders (id bigint generated always as identity primary key, buyer int)`,
  );
  await world.sql(`select rowcast.watch('orders', audience => '{user:<buyer>}')`);
  await world.database.disconnect();
  await world.relay();
  const client = await world.live({ userId: '1' });
  let writing = true;
  let failed = 0;
  const run = async (work: (session: pg.Client) => Promise<unknown>) => {
    const session = new pg.Client(world.database.url);
    await session.connect();
    while (writing) {
      try {
        await session.query('begin');
        await work(session);
        await session.query('commit');
      } catch (error) {
        await session.query('rollback');
        if ((error as { code?: string }).code !== '40001') throw error;
        failed++;
      }
      await setTimeout(3);
    }
    await session.end();
  };
  // One dependency between a read and a write, and never a cycle: alone, none of these ever fails.
  const order = async (session: pg.Client) => {
    await session.query('select balance from account where id = 15000');
    await setTimeout(5);
    await session.query('insert into orders (buyer) values (1)');
  };
  const running = [order, order, order].map(run);
  running.push(
    run((session) => session.query('update account set balance = balance + 1 where id = 15000')),
  );
  await client.received(600);
  writing = false;
  await Promise.all(running);
  expect(failed).toBe(0);
});

test('settings of the database that change what statements mean change nothing for a relay and its commands', async () => {
  const world = await World.start();
  const name = new URL(world.database.url).pathname.slice(1);
  for (const setting of [
    `default_transaction_read_only = on`,
    `statement_timeout = 1`,
    `lock_timeout = 1`,
    `search_path = pg_temp`,
    `timezone = 'Asia/Tokyo'`,
    `datestyle = 'German'`,
    `intervalstyle = 'sql_standard'`,
    `bytea_output = 'escape'`,
    `standard_conforming_strings = off`,
    `plpgsql.extra_errors = 'all'`,
    `enable_indexscan = off`,
  ])
    await world.sql(`alter database ${name} set ${setting}`);
  // Sessions that were there go on as they were.
  const writer = await world.database.client();
  const relay = await world.relay({
    retention: { keep: '1 second', keepUndelivered: '1 day', intervalMs: 50 },
  });
  const client = await world.live();
  await writer.query(
    'set session characteristics as transaction read write; set statement_timeout = 0',
  );
  const removed = new Promise((resolve) => relay.once('removed', resolve));
  await writer.query(`insert into messages (content) values ('x')`);
  await client.received(1);
  await removed;
  writer.release();
  const status = await command(['status', '--json'], { DATABASE_URL: world.database.url });
  expect(JSON.parse(status.output)).toMatchObject({ database: { installed: true } });
});

test('options of the URL reach every command: a role that owns the schema, and one that only logs in', async () => {
  const id = randomBytes(4).toString('hex');
  const admin = new pg.Client(inject('adminUrl'));
  await admin.connect();
  await admin.query(
    `create role owner_${id} nologin; create role login_${id} login noinherit password 'p'`,
  );
  await admin.query(`grant owner_${id} to login_${id}`);
  const name = `${inject('template')}_opt_${id}`;
  await admin.query(`create database ${name} owner owner_${id}`);
  const url = Object.assign(new URL(inject('adminUrl')), {
    pathname: `/${name}`,
    username: `login_${id}`,
    password: 'p',
    search: `?options=-c%20role%3Downer_${id}`,
  }).href;
  const asOwner = new pg.Client(
    Object.assign(new URL(inject('adminUrl')), { pathname: `/${name}` }).href,
  );
  await asOwner.connect();
  await asOwner.query(`alter schema public owner to owner_${id}`);
  await asOwner.end();
  expect(await command(['migrate', 'up'], { DATABASE_URL: url })).toMatchObject({ code: 0 });
  const world = await World.start();
  const daemon = world.daemon({ DATABASE_URL: url });
  await daemon.logged('leading');
  const client = await world.live();
  const writer = new pg.Client(url);
  await writer.connect();
  await writer.query(`insert into messages (content) values ('x')`);
  await writer.end();
  await client.received(1);
  for (const name of ['status', 'trace']) {
    const { code, errors } = await command(name === 'trace' ? [name, '1'] : [name], {
      DATABASE_URL: url,
    });
    expect({ code, errors }).toEqual({ code: 0, errors: '' });
  }
  await daemon.kill();
  await admin.query(`drop database ${name} with (force)`);
  await admin.query(`drop owned by owner_${id}, login_${id}; drop role owner_${id}, login_${id}`);
  await admin.end();
});
