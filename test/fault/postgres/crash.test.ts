import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres } from '../../../src/local/postgres.ts';
import { contents } from '../../support/client/contents.ts';
import { runDaemon } from '../../support/process/run-daemon.ts';
import { temporaryFolder } from '../../support/process/temporary-folder.ts';
import { World } from '../../support/world.ts';

test('Postgres crashes and hands out the ids of undone transactions again: no cursor has them as seen', async () => {
  const folder = await temporaryFolder('crash');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // The writer of the WAL sleeps: what nobody flushes is lost.
  const settings = { wal_writer_delay: '10000ms' };
  const options = { dataDir: join(folder, 'data'), logFile: join(folder, 'log'), settings };
  let postgres = await LocalPostgres.start(options);
  onTestFinished(() => postgres.stop());
  const { port } = postgres;
  const url = postgres.url('postgres');
  const world = await World.start();
  const daemon = runDaemon(['start'], { ...world.environment(), DATABASE_URL: url });
  await daemon.logged('leading');
  const session = new pg.Client(url);
  session.on('error', () => undefined);
  await session.connect();
  await session.query('set synchronous_commit = off');
  const client = await world.live();
  const xids: bigint[] = [];
  const undone = async () => {
    const { rows } = await session.query<{ xid: string }>(
      'select pg_current_xact_id()::text as xid',
    );
    xids.push(BigInt(rows[0]?.xid as string));
  };
  // Ended and not on disk when the crash comes; a client becomes READY among them.
  for (let n = 0; n < 100; n++) await undone();
  const late = await world.live();
  for (let n = 0; n < 100; n++) await undone();
  const cursors = [await client.ready(), await late.ready()].map(({ cursor }) => cursor as string);
  process.kill(postgres.pid, 'SIGQUIT');
  await postgres.exited;
  await daemon.logged('database_lost');
  postgres = await LocalPostgres.start({ ...options, port });
  const after = new pg.Client(url);
  await after.connect();
  const expected: string[] = [];
  for (let n = 0; n < 250; n++) {
    const { rows } = await after.query<{ content: string }>(
      `insert into messages (content) values ('after ' || pg_current_xact_id()) returning content`,
    );
    expected.push(rows[0]?.content as string);
  }
  await after.end();
  const reused = expected.filter((content) =>
    xids.includes(BigInt(content.slice('after '.length))),
  );
  expect(reused.length).toBeGreaterThan(0);
  for (const cursor of cursors) {
    const back = await world.live({ cursor });
    expect(new Set(contents(back.events))).toEqual(new Set(expected));
  }
  await client.received(250);
  expect(new Set(contents(client.events))).toEqual(new Set(expected));
});
