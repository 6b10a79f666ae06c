import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres } from '../../../src/local/postgres.ts';
import { migrate } from '../../../src/postgres/migrations.ts';
import { temporaryFolder } from '../../support/process/temporary-folder.ts';

test('all tables are replicated to a copy, as a blue/green deployment does: replication goes on, and the copy keeps a log of its own', async () => {
  const folder = await temporaryFolder('replication');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const options = {
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'log'),
    settings: { wal_level: 'logical' },
  };
  const postgres = await LocalPostgres.start(options);
  onTestFinished(() => postgres.stop());
  const connect = async (database: string) => {
    const client = new pg.Client(postgres.url(database));
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const admin = await connect('postgres');
  await admin.query('create database blue');
  const migrated = (step: 'up') =>
    migrate(
      {
        database: { connectionString: postgres.url('blue') },
        log: pino({ level: 'silent' }),
        signal: new AbortController().signal,
      },
      { direction: step },
    );
  await migrated('up');
  let blue = await connect('blue');
  await blue.query('create table orders (id int primary key, n int)');
  await blue.query('create table more (id int primary key)');
  await blue.query(`select rowcast.watch('orders')`);
  await blue.query('insert into orders values (1, 1)');
  await blue.query('create publication bg for all tables');
  await blue.query(`select pg_create_logical_replication_slot('bg', 'pgoutput')`);
  await blue.end();
  await admin.query('create database green template blue');
  blue = await connect('blue');
  const green = await connect('green');
  await green.query('drop publication bg');
  const place = new URL(postgres.url('blue'));
  await green.query(
    `create subscription bg connection 'host=127.0.0.1 port=${place.port} dbname=blue user=postgres password=${place.password}'
     publication bg with (create_slot = false, slot_name = 'bg', copy_data = false)`,
  );
  // Rows, the log, the cursor of a relay that leads on blue, retention, and another table that is
  // watched there.
  for (let id = 2; id <= 5; id++) await blue.query('insert into orders values ($1, $1)', [id]);
  await blue.query(
    'update rowcast.cursor set snapshot = pg_current_snapshot(), commits = commits + 1',
  );
  await blue.query('delete from rowcast.event where id <= 2');
  await blue.query('select rowcast.refetch()');
  await blue.query(`select rowcast.watch('more')`);
  await blue.query('update orders set n = 0 where id = 5');
  const count = async (client: pg.Client, what: string) =>
    Number((await client.query<{ n: string }>(`select count(*) as n from ${what}`)).rows[0]?.n);
  await expect.poll(() => count(green, 'orders where n = 0')).toBe(1);
  const { rows } = await green.query(
    `select type, data->>'id' as id from rowcast.event where source = 'public.orders' order by id::int, type`,
  );
  expect(rows).toEqual(
    [
      ...[1, 2, 3, 4, 5].map((id) => ({ type: 'NEW_ORDERS', id: String(id) })),
      { type: 'UPDATE_ORDERS', id: '5' },
    ].toSorted((a, b) => Number(a.id) - Number(b.id)),
  );
  expect(await count(green, `rowcast.event where id <= 2`)).toBeGreaterThan(0);
  expect(await count(green, `rowcast.capture where entity = 'MORE'`)).toBe(0);
  const installations = await Promise.all(
    [blue, green].map(
      async (client) => (await client.query('select id from rowcast.installation')).rows[0]?.id,
    ),
  );
  expect(installations[0]).not.toBe(installations[1]);
  await green.query('alter subscription bg disable');
  await green.query('alter subscription bg set (slot_name = none)');
  await green.query('drop subscription bg');
  for (const client of [blue, green, admin]) await client.end();
});
