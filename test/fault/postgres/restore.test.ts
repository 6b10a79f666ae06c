import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres, type LocalPostgresOptions } from '../../../src/local/postgres.ts';
import { migrate } from '../../../src/postgres/migrations.ts';
import type { TestClient } from '../../support/client/client.ts';
import { runDaemon } from '../../support/process/run-daemon.ts';
import { temporaryFolder } from '../../support/process/temporary-folder.ts';
import { World } from '../../support/world.ts';

async function query(postgres: LocalPostgres, text: string): Promise<void> {
  const client = new pg.Client(postgres.url('postgres'));
  await client.connect();
  await client.query(text);
  await client.end();
}

/** A Postgres of the test's own; `folder/data/cluster` is its data. */
async function start(settings: LocalPostgresOptions['settings'] = {}) {
  const folder = await temporaryFolder('restore');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const run = async (name: string, port?: number) => {
    const options = { dataDir: join(folder, name), logFile: join(folder, `${name}.log`), settings };
    const postgres = await LocalPostgres.start(port === undefined ? options : { ...options, port });
    onTestFinished(() => postgres.stop());
    return postgres;
  };
  return { folder, run };
}

/** With owners and rights, which Postgres insists on. */
const copy = (from: string, to: string) => promisify(execFile)('cp', ['-a', from, to]);

const unrecovered = (client: TestClient) =>
  client.frame(({ type, recovered }) => type === 'READY' && recovered === false);

test('the database is set back to an earlier moment under a relay: clients fetch again, and no new event is taken for an old one', async () => {
  const { folder, run } = await start();
  let postgres = await run('data');
  const world = await World.start();
  const daemon = runDaemon(['start'], {
    ...world.environment(),
    DATABASE_URL: postgres.url('postgres'),
  });
  await daemon.logged('leading');
  const early = await world.live({ userId: 'early' });
  await query(postgres, `insert into messages (content) values ('before')`);
  await early.received(1);
  const { port } = postgres;
  await postgres.stop();
  await daemon.logged('database_lost');
  await copy(join(folder, 'data'), join(folder, 'backup'));
  postgres = await run('data', port);
  const late = await world.live({ userId: 'late' });
  await query(postgres, `insert into messages (content) values ('undone')`);
  const isUndone = ({ data }: { data?: Record<string, unknown> | null }) =>
    data?.content === 'undone';
  const [lost] = await Promise.all([late, early].map((client) => client.frame(isUndone)));
  await postgres.stop();
  await rm(join(folder, 'data'), { recursive: true });
  await copy(join(folder, 'backup'), join(folder, 'data'));
  postgres = await run('data', port);
  await daemon.logged('database_set_back');
  await Promise.all([early, late].map(unrecovered));
  await query(postgres, `insert into messages (content) values ('after')`);
  const isNew = ({ data }: { data?: Record<string, unknown> | null }) => data?.content === 'after';
  const [frame] = await Promise.all([early, late].map((client) => client.frame(isNew)));
  // The very id has gone out before: only the installation in the cursor tells the two apart.
  expect(frame?.id).toBe(lost?.id);
  expect(String(frame?.cursor).split('.')[1]).not.toBe(String(lost?.cursor).split('.')[1]);
  const back = await world.live({ userId: 'late', cursor: lost?.cursor as string });
  expect(await back.ready()).toMatchObject({ recovered: false });
});

test('the relay finds the server that takes writes among several, and its successor after a failover', async () => {
  const { folder, run } = await start({ hot_standby: 'on' });
  let primary = await run('data');
  await query(primary, `create role replicator replication login password 'p'`);
  await query(
    primary,
    `alter system set primary_conninfo = 'host=127.0.0.1 port=${primary.port} user=replicator password=p'`,
  );
  await primary.stop();
  await copy(join(folder, 'data'), join(folder, 'standby'));
  await writeFile(join(folder, 'standby', 'cluster', 'standby.signal'), '');
  primary = await run('data', primary.port);
  const standby = await run('standby');
  const { password } = new URL(primary.url('postgres'));
  const world = await World.start();
  const daemon = runDaemon(['start'], {
    ...world.environment(),
    DATABASE_URL: `postgres://postgres:${password}@127.0.0.1:1,127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres?target_session_attrs=read-write`,
  });
  await daemon.logged('leading');
  const client = await world.live();
  await query(primary, `insert into messages (content) values ('before')`);
  await client.received(1);
  const replayed = new pg.Client(standby.url('postgres'));
  await replayed.connect();
  await expect.poll(async () => (await replayed.query('select from messages')).rowCount).toBe(1);
  await primary.stop();
  await replayed.query('select pg_promote()');
  await replayed.end();
  // Nobody can know what is missing from a replica: a client fetches again.
  await daemon.logged('database_set_back');
  await unrecovered(client);
  await query(standby, `insert into messages (content) values ('after')`);
  await client.frame(({ data }) => data?.content === 'after');
});

test('the migrations are taken down and up again under connected clients: they fetch again and hear what is new', async () => {
  const world = await World.start();
  const options = {
    database: { connectionString: world.database.url },
    log: pino({ level: 'silent' }),
    signal: new AbortController().signal,
  };
  const relay = await world.relay();
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('before')`);
  await client.received(1);
  await migrate(options, { direction: 'down', count: 99 });
  await migrate(options, { direction: 'up' });
  await unrecovered(client);
  await world.sql(`insert into messages (content) values ('after')`);
  const frame = await client.frame(({ data }) => data?.content === 'after');
  expect(frame.id).toBe(client.ids[0]);
  expect(relay.role).toBe('leader');
});
