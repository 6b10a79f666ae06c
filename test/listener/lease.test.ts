import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Doorbell } from '../../src/listener/doorbell.ts';
import { Lease } from '../../src/listener/lease.ts';
import { Session } from '../../src/postgres/session.ts';
import { TestDatabase } from '../support/postgres/database.ts';

async function acquire(database: TestDatabase): Promise<Lease> {
  const lease = await Lease.acquire({
    clock: systemClock,
    name: 'test',
    open: () =>
      Session.open({
        database: { connectionString: database.url },
        applicationName: 'rowcast lease test',
        queryTimeoutMs: 5000,
      }),
    signal: new AbortController().signal,
    onStandby: () => undefined,
    onBroken: () => undefined,
    nextAttempt: () => Promise.resolve(),
  });
  return lease as Lease;
}

test('a lease that was not proved for a while is not trusted, from the first moment after a freeze', async () => {
  const database = await TestDatabase.create();
  const lease = await acquire(database);
  onTestFinished(async () => {
    await lease.release();
    await database.close();
  });
  expect(lease.trusted).toBe(true);
  // This whole process stands still, timers and sockets too, as under SIGSTOP.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 8500);
  expect(lease.trusted).toBe(false);
  await expect.poll(() => lease.trusted).toBe(true);
});

test('an attempt that fails leaves no connection behind', async () => {
  const database = await TestDatabase.create({ empty: true });
  onTestFinished(() => database.close());
  await expect(acquire(database)).rejects.toThrow(/rowcast/);
  await expect
    .poll(() =>
      database.sql(
        `select from pg_stat_activity where application_name = 'rowcast lease test' and datname = current_database()`,
      ),
    )
    .toEqual([]);
});

test('a release gives every lock up, though the network loses the close', async () => {
  const database = await TestDatabase.create();
  onTestFinished(() => database.close());
  const lease = await acquire(database);
  onTestFinished(() => lease.session.destroy());
  expect(await new Doorbell({ session: lease.session }).trySleep()).toBe(true);
  lease.session.close = async () => undefined;
  await lease.release();
  const locks = await database.sql(
    `select objid from pg_locks l join pg_database d on d.oid = l.database
     where locktype = 'advisory' and datname = current_database()`,
  );
  expect(locks).toEqual([]);
});
