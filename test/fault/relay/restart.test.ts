import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LocalPostgres } from '../../../src/local/postgres.ts';
import { contents, numbers } from '../../support/client/contents.ts';
import { runDaemon } from '../../support/process/run-daemon.ts';
import { temporaryFolder } from '../../support/process/temporary-folder.ts';
import { World } from '../../support/world.ts';

test('a standby takes over when the leader stops, and nothing is lost or doubled', async () => {
  const world = await World.start();
  const first = await world.relay();
  const second = await world.relay();
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('1')`);
  await client.received(1);
  const led = once(second, 'role');
  await first.stop();
  expect(await led).toEqual(['leader']);
  await world.sql(`insert into messages (content) values ('2')`);
  await client.received(2);
  expect(contents(client.events)).toEqual(['1', '2']);
});

test('the LISTEN connection and the lease are made again after their backends were terminated', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const client = await world.live();
  for (const round of numbers(3)) {
    const led = once(relay, 'role');
    await world.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowcast %' and datname = current_database()`,
    );
    await world.sql('insert into messages (content) values ($1)', [round]);
    await led;
    await client.frame(({ data }) => data?.content === round);
  }
  expect(new Set(contents(client.events))).toEqual(new Set(numbers(3)));
});

test('Postgres is stopped and started under the relay: what was committed before and after arrives', async () => {
  const folder = await temporaryFolder('fault');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const options = { dataDir: join(folder, 'data'), logFile: join(folder, 'log') };
  let postgres = await LocalPostgres.start(options);
  onTestFinished(() => postgres.stop());
  const { port } = postgres;
  const world = await World.start();
  const daemon = runDaemon(['start'], {
    ...world.environment(),
    DATABASE_URL: postgres.url('postgres'),
  });
  await daemon.logged('leading');
  const client = await world.live();
  const insert = async (content: string) => {
    const pg = await import('pg');
    const session = new pg.default.Client(postgres.url('postgres'));
    await session.connect();
    await session.query('insert into messages (content) values ($1)', [content]);
    await session.end();
  };
  await insert('before');
  await client.received(1);
  await postgres.stop();
  await daemon.logged('database_lost');
  postgres = await LocalPostgres.start({ ...options, port });
  await insert('after');
  await client.frame(({ data }) => data?.content === 'after');
  expect(new Set(contents(client.events))).toEqual(new Set(['before', 'after']));
});

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s in the middle of a window: what is in flight is delivered, the exit is clean, nothing is lost',
  async (signal) => {
    const world = await World.start();
    const daemon = world.daemon();
    await daemon.logged('leading');
    const client = await world.live();
    let open: () => void = () => undefined;
    world.posts.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    await world.sql('insert into messages (content) select n::text from generate_series(1, 50) n');
    await expect.poll(() => world.posts.posts).toBeGreaterThan(1);
    daemon.process.kill(signal);
    await world.sql(`insert into messages (content) values ('while stopping')`);
    open();
    expect(await daemon.exited).toBe(0);
    expect(contents(client.events).slice(0, 50)).toEqual(numbers(50));
    await world.relay();
    await client.received(51);
    expect(contents(client.events)).toEqual([...numbers(50), 'while stopping']);
  },
);

test('kill -9 in the middle of a window: the next relay delivers the rest', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql('insert into messages (content) select n::text from generate_series(1, 300) n');
  await client.received(20);
  daemon.process.kill('SIGKILL');
  await daemon.exited;
  await world.relay();
  await client.received(300);
  // At least once, and after each other: whoever drops what it has seen is left with the order.
  expect([...new Set(contents(client.events))]).toEqual(numbers(300));
});
