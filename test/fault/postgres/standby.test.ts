import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres } from '../../../src/local/postgres.ts';
import { migrate } from '../../../src/postgres/migrations.ts';
import { CursorTokens } from '../../../src/relay/cursor-tokens.ts';
import { temporaryFolder } from '../../support/process/temporary-folder.ts';

/** A primary with Rowcast, and a hot standby of it. */
async function start(): Promise<{ primary: pg.Client; other: pg.Client; standby: pg.Client }> {
  const folder = await temporaryFolder('standby');
  const servers: LocalPostgres[] = [];
  const clients: pg.Client[] = [];
  onTestFinished(async () => {
    await Promise.all(clients.map((client) => client.end()));
    await Promise.all(servers.map((server) => server.stop()));
    await rm(folder, { recursive: true, force: true });
  });
  const run = async (name: string, port?: number) => {
    const server = await LocalPostgres.start({
      dataDir: join(folder, name),
      logFile: join(folder, `${name}.log`),
      settings: { hot_standby: 'on' },
      ...(port ? { port } : {}),
    });
    servers.push(server);
    return server;
  };
  const connect = async (server: LocalPostgres) => {
    const client = new pg.Client(server.url('postgres'));
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  };
  const first = await run('data');
  await migrate(
    {
      database: { connectionString: first.url('postgres') },
      log: pino({ level: 'silent' }),
      signal: new AbortController().signal,
    },
    { direction: 'up' },
  );
  const setup = await connect(first);
  await setup.query(`create role replicator replication login password 'p'`);
  await setup.query(
    `alter system set primary_conninfo = 'host=127.0.0.1 port=${first.port} user=replicator password=p'`,
  );
  await first.stop();
  servers.length = 0;
  await promisify(execFile)('cp', ['-a', join(folder, 'data'), join(folder, 'standby')]);
  await writeFile(join(folder, 'standby', 'cluster', 'standby.signal'), '');
  const primary = await run('data', first.port);
  const standby = await run('standby');
  return {
    primary: await connect(primary),
    other: await connect(primary),
    standby: await connect(standby),
  };
}

const insert = (content: string) =>
  `insert into messages (content) values ('${content}') returning pg_current_xact_id()::text as xid`;

test('a snapshot of a standby names what it does not see, of what was in flight too', async () => {
  const { primary, other, standby } = await start();
  const { rows: installation } = await primary.query(
    'select id::text, cursor_key from rowcast.installation',
  );
  const tokens = new CursorTokens(installation[0].id, {
    current: installation[0].cursor_key,
    former: null,
  });
  const written = async (client: pg.Client, content: string): Promise<bigint> =>
    BigInt((await client.query(insert(content))).rows[0].xid);
  await other.query('begin');
  const open = await written(other, 'open');
  await primary.query('create table unwatched (n int)');
  const elsewhere = BigInt(
    (
      await primary.query(
        'insert into unwatched values (1) returning pg_current_xact_id()::text as xid',
      )
    ).rows[0].xid,
  );
  const over = await written(primary, 'over');
  const look = async () => {
    const { rows } = await standby.query(
      `select array(select content from messages order by 1) as seen, rowcast.snapshot() as cursor`,
    );
    const place = tokens.parse(rows[0].cursor);
    const sees = (xid: bigint) => !!place && xid < place.xmax && !place.xip.includes(xid);
    return { seen: rows[0].seen as string[], sees };
  };
  await expect.poll(async () => (await look()).seen).toEqual(['over']);
  const during = await look();
  expect([open, elsewhere, over].map(during.sees)).toEqual([false, true, true]);

  // It lags: what is over on the primary is not seen there.
  await standby.query('select pg_wal_replay_pause()');
  const late = await written(primary, 'late');
  await other.query('commit');
  const lagging = await look();
  expect(lagging.seen).toEqual(['over']);
  expect([lagging.sees(open), lagging.sees(late)]).toEqual([false, false]);
  await standby.query('select pg_wal_replay_resume()');
  await expect.poll(async () => (await look()).seen).toEqual(['late', 'open', 'over']);
  const after = await look();
  expect([open, over, late].map(after.sees)).toEqual([true, true, true]);
});
