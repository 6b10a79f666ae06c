import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { formatCursor, MAX_CURSOR_LENGTH } from '../../src/protocol/cursor.ts';
import { CursorTokens } from '../../src/relay/cursor-tokens.ts';
import { TestDatabase } from '../support/postgres/database.ts';

async function start() {
  const database = await TestDatabase.create();
  onTestFinished(() => database.close());
  const [installation] = await database.sql<{ id: string; key: Buffer }>(
    'select id::text, cursor_key as key from rowcast.installation',
  );
  const { id, key } = installation as { id: string; key: Buffer };
  return { database, tokens: new CursorTokens(id, { current: key, former: null }) };
}

test('a snapshot of SQL is the cursor that the relay would give, whatever is in flight', async () => {
  const { database } = await start();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 400 })), { maxLength: 60 }),
      fc.nat(50),
      async (gaps, beyond) => {
        let xid = 8401n;
        const xip = gaps.map((gap, n) => (xid += BigInt(n === 0 ? 0 : gap)));
        const snapshot = { xmin: 8401n, xmax: xip.length ? xid + 1n + BigInt(beyond) : xid, xip };
        const [row] = await database.sql<{ place: string }>(
          'select rowcast.place($1, $2, $3::bigint[]) as place',
          [String(snapshot.xmin), String(snapshot.xmax), xip.map(String)],
        );
        expect(`${row?.place}.0a1b2c3d`).toBe(formatCursor(snapshot, '0a1b2c3d'));
      },
    ),
    { numRuns: 200 },
  );
});

test('it is of the very statement that fetches the list, signed, and names every transaction in flight', async () => {
  const { database, tokens } = await start();
  const writers = await Promise.all(Array.from({ length: 12 }, () => database.client()));
  const xids: bigint[] = [];
  for (const writer of writers) {
    const { rows } = await writer
      .query(
        `begin; insert into messages (content) values ('open'); select pg_current_xact_id()::text as xid`,
      )
      .then((results) => (results as unknown as { rows: { xid: string }[] }[])[2] ?? { rows: [] });
    xids.push(BigInt(rows[0]?.xid as string));
  }
  // Another that began last and is over: without it nobody is in flight before the end.
  await database.sql('select pg_current_xact_id()');
  const blocked = await database.client();
  await blocked.query('select pg_advisory_lock(4712)');
  const slow = database.sql<{ cursor: string }>(
    `with waited as materialized (select pg_advisory_lock_shared(4712)) select rowcast.snapshot() as cursor from waited`,
  );
  await expect
    .poll(() => database.sql(`select from pg_locks where objid = 4712 and not granted`))
    .toHaveLength(1);
  await writers[0]?.query('commit');
  await blocked.query('select pg_advisory_unlock(4712)');
  const [{ cursor } = { cursor: '' }] = await slow;
  // The first writer committed before snapshot() ran, and after its statement began.
  expect(tokens.parse(cursor)?.xip.filter((xid) => xids.includes(xid))).toEqual(xids);
  for (const writer of writers) await writer.query('rollback');
  const [after] = await database.sql<{ cursor: string }>('select rowcast.snapshot() as cursor');
  expect(tokens.parse(after?.cursor as string)?.xip.some((xid) => xids.includes(xid))).toBe(false);
  for (const writer of [...writers, blocked]) writer.release();
});

test('a transaction that has written may write more: it is in flight for its own snapshot', async () => {
  const { database, tokens } = await start();
  const [one, other] = [await database.client(), await database.client()];
  const place = async () => {
    const { rows } = await one.query<{ cursor: string; own: string }>(
      `with written as (insert into messages (content) values ('mine') returning 1)
       select rowcast.snapshot() as cursor, pg_current_xact_id()::text as own`,
    );
    const { cursor, own } = rows[0] as { cursor: string; own: string };
    return { seen: tokens.parse(cursor), own: BigInt(own) };
  };
  await other.query(`begin; insert into messages (content) values ('earlier')`);
  await one.query('begin');
  const first = await place();
  expect(first.seen?.xmax).toBeLessThanOrEqual(first.own);
  // From here on others that began later are over.
  await other.query('commit');
  await database.sql(`insert into messages (content) values ('later')`);
  const second = await place();
  await one.query('commit');
  expect(second.seen?.xmax).toBeGreaterThan(second.own);
  expect(second.seen?.xip).toContain(second.own);
  one.release();
  other.release();
});

test('a snapshot with more in flight than a URL holds names no place', async () => {
  const { database } = await start();
  const place = (count: number) =>
    database
      .sql<{ length: number; most: number }>(
        `select length(rowcast.place(1, 10000000, array(
           select (n * (n + 1) / 2)::bigint from generate_series(1, $1::int) n))) as length,
           rowcast.max_place_length() as most`,
        [count],
      )
      .then(([row]) => row as { length: number; most: number });
  const { length, most } = await place(600);
  expect([length <= most, (await place(900)).length > most]).toEqual([true, true]);
  expect(most).toBe(MAX_CURSOR_LENGTH - 26);
});

test('whoever may use the schema may ask for a snapshot, and can sign nothing else', async () => {
  const { database, tokens } = await start();
  const role = `api_${Math.random().toString(36).slice(2)}`;
  await database.sql(`create role ${role}`);
  await database.sql(`grant usage on schema rowcast to ${role}`);
  onTestFinished(async () => {
    await database.sql(`drop owned by ${role}; drop role ${role}`);
  });
  const client = await database.client();
  await client.query(`set role ${role}`);
  const { rows } = await client.query('select rowcast.snapshot() as cursor');
  expect(tokens.parse(rows[0].cursor)).not.toBeNull();
  await expect(client.query('select cursor_key from rowcast.installation')).rejects.toThrow(
    /permission denied/,
  );
  await client.query('reset role');
  client.release();
});
