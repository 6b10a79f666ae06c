import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { EventLog, type Position } from '../../src/log/event-log.ts';
import type { LoggedEvent } from '../../src/log/logged-event.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { Session } from '../../src/postgres/session.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import { Writers } from '../support/writers.ts';

let database: TestDatabase;
let session: Session;
beforeAll(async () => {
  database = await TestDatabase.create();
  session = await Session.open({
    database: { connectionString: database.url },
    applicationName: 'test',
    queryTimeoutMs: 10_000,
  });
});
afterAll(async () => {
  await session.close();
  await database.close();
});
beforeEach(async () => {
  await database.sql('truncate rowcast.event');
});

const here = async (): Promise<Position> => ({
  snapshot: Snapshot.parse(
    (await database.sql<{ s: string }>('select pg_current_snapshot()::text s'))[0]?.s as string,
  ),
});
const logOf = (pageRows = 1000) => new EventLog({ session, pageRows, maxDataBytes: 32_000 });
const contentOf = ({ data }: LoggedEvent): string =>
  (JSON.parse(data as string) as { content: string }).content;

/** Reads until nothing is left. */
async function drain(
  log: EventLog,
  from: Position,
): Promise<{ events: LoggedEvent[]; position: Position; pages: number }> {
  const events: LoggedEvent[] = [];
  let position = from;
  for (let pages = 1; ; pages++) {
    const page = await log.read(position);
    events.push(...page.events);
    position = page.next;
    if (!page.more) return { events, position, pages };
  }
}

async function begin() {
  const client = await database.client();
  await client.query('begin');
  onTestFinished(async () => {
    await client.query('rollback');
    client.release();
  });
  return client;
}

describe.each([{ pageRows: 1000 }, { pageRows: 7 }])(
  'with pages of $pageRows rows',
  ({ pageRows }) => {
    test('ten rude writers: every committed row is read once, nothing else ever', async () => {
      const log = logOf(pageRows);
      let position = await here();
      const read: LoggedEvent[] = [];
      const writers = new Writers(database, pageRows);
      let done = false;
      const writing = writers.run(10, 60).then(() => {
        done = true;
      });
      for (let last = false; !last; ) {
        last = done;
        const drained = await drain(log, position);
        read.push(...drained.events);
        position = drained.position;
      }
      await writing;
      const contents = read.map(contentOf);
      expect(writers.committed.size).toBeGreaterThan(500);
      expect(new Set(contents)).toEqual(writers.committed);
      expect(contents.length).toBe(writers.committed.size);
    });

    test('a row committed late, with an id from long ago, is read when it becomes visible', async () => {
      const log = logOf(pageRows);
      const slow = await begin();
      await slow.query(`insert into messages (content) values ('slow')`);
      let position = await here();
      await database.sql(`insert into messages (content) values ('fast')`);
      const first = await drain(log, position);
      expect(first.events.map(contentOf)).toEqual(['fast']);
      position = first.position;
      await slow.query('commit');
      const second = await drain(log, position);
      expect(second.events.map(contentOf)).toEqual(['slow']);
      expect(Number(second.events[0]?.id)).toBeLessThan(Number(first.events[0]?.id));
    });

    test('a transaction larger than a page is read whole, in the order of its ids', async () => {
      const position = await here();
      await database.sql(
        'insert into messages (content) select n::text from generate_series(1, 2500) n',
      );
      const { events, pages } = await drain(logOf(pageRows), position);
      expect(events.map(contentOf)).toEqual(Array.from({ length: 2500 }, (_, i) => String(i + 1)));
      expect(pages).toBeGreaterThan(2);
    });
  },
);

test('a backlog keeps the order of the changes of one row, whichever transaction began first', async () => {
  await database.sql(`insert into messages (content) values ('v0')`);
  const position = await here();
  const early = await begin();
  await early.query(`insert into messages (content) values ('another row')`);
  await database.sql(`update messages set content = 'v1' where content = 'v0'`);
  await early.query(`update messages set content = 'v2' where content = 'v1'`);
  await early.query('commit');

  for (const pageRows of [1, 2, 1000]) {
    const { events } = await drain(logOf(pageRows), position);
    const changes = events.filter(({ type }) => type === 'UPDATE_MESSAGE');
    expect(changes.map(contentOf)).toEqual(['v1', 'v2']);
    // The transaction that wrote v2 has the smaller xid: a window cut between the two would send v2
    // first.
    expect(Number(changes[1]?.xid)).toBeLessThan(Number(changes[0]?.xid));
  }
});

test('a backlog is resumed in the middle, and ends where it began to end', async () => {
  const log = logOf(10);
  const position = await here();
  await database.sql('insert into messages (content) select n::text from generate_series(1, 25) n');
  const first = await log.read(position);
  expect(first.events.map(contentOf)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']);
  await database.sql(`insert into messages (content) values ('later')`);
  const { events } = await drain(log, first.next);
  expect(events.map(contentOf)).toEqual([
    ...Array.from({ length: 15 }, (_, i) => String(i + 11)),
    'later',
  ]);
});

test('between two snapshots lies what became visible after the first and by the second', async () => {
  const log = logOf(2);
  await database.sql(`insert into messages (content) values ('before')`);
  const start = await here();
  await database.sql(`insert into messages (content) values ('a'), ('b'), ('c')`);
  const end = await here();
  await database.sql(`insert into messages (content) values ('after')`);
  const events: LoggedEvent[] = [];
  let page = await log.between(start.snapshot, end.snapshot);
  events.push(...page.events);
  while (page.next.backlog) {
    page = await log.read(page.next);
    events.push(...page.events);
  }
  expect(events.map(contentOf)).toEqual(['a', 'b', 'c']);
});

test('a window of more rows than are counted is read whole, and nothing of the log before it', async () => {
  await database.sql(
    `insert into messages (content) select 'before ' || n from generate_series(1, 1000) n`,
  );
  const start = await here();
  const late = await begin();
  await late.query(`insert into messages (content) values ('late')`);
  const between = await here();
  await database.sql(
    'insert into messages (content) select n::text from generate_series(1, 50010) n',
  );
  await late.query('commit');
  const log = logOf();
  for (const { from, first } of [
    { from: start, first: 'late' },
    { from: between, first: 'late' },
  ]) {
    const until = await here();
    const read: LoggedEvent[] = [];
    let page = await log.between(from.snapshot, until.snapshot);
    for (read.push(...page.events); page.next.backlog; read.push(...page.events))
      page = await log.read(page.next);
    expect(read).toHaveLength(50_011);
    expect(contentOf(read[0] as LoggedEvent)).toBe(first);
    expect(new Set(read.map(({ id }) => id)).size).toBe(read.length);
  }
});

test('a read costs the new rows only, however large the log is', async () => {
  const position = await here();
  await database.sql(
    `insert into rowcast.event (type, audience) select 'old', '{all}' from generate_series(1, 50000)`,
  );
  await database.sql('analyze rowcast.event');
  const { position: end } = await drain(logOf(), position);
  await database.sql(`insert into messages (content) values ('new')`);
  // In one transaction, so that the counters are not reported and reset in between.
  await session.query('begin');
  const before = await rowsTouched();
  expect((await logOf().read(end)).events.map(contentOf)).toEqual(['new']);
  expect((await rowsTouched()) - before).toBe(1);
  await session.query('commit');
});

/** Rows of the log that this session has fetched and not yet reported to the statistics. */
async function rowsTouched(): Promise<number> {
  const [row] = await session.query<{ rows: string }>(
    `select seq_tup_read + idx_tup_fetch as rows from pg_stat_xact_all_tables where relid = 'rowcast.event'::regclass`,
  );
  return Number(row?.rows);
}

test('a page is bounded in bytes of all that it returns, and order and completeness stay', async () => {
  const start = await here();
  // A thousand terms of 300 bytes are what send() takes; a hundred such rows would be 30 MB.
  await database.sql(
    `insert into rowcast.event (type, audience, data) select 'T', terms, to_json(n) from generate_series(1, 100) n,
       (select array_agg('user:' || repeat('x', 290) || m) as terms from generate_series(1, 1000) m) t`,
  );
  const log = logOf(1000);
  let position = start;
  const read: number[] = [];
  for (let more = true; more; ) {
    const page = await log.read(position);
    const bytes = page.events.reduce((sum, { audience }) => sum + audience.join().length, 0);
    expect(bytes).toBeLessThan(17_000_000);
    read.push(...page.events.map(({ data }) => Number(data)));
    position = page.next;
    more = page.more;
  }
  expect(read).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
});

test('a page that takes longer than its statement may is read in smaller ones, on the same session', async () => {
  const start = await here();
  // Stored in some 20 kB each, and 1.6 MB once they are unpacked.
  await database.sql(
    `insert into rowcast.event (type, audience, data) values ('T', '{all}', to_json(repeat('x', 1600000)))`,
  );
  await database.sql(
    `insert into rowcast.event (type, audience, data) select type, audience, data from rowcast.event, generate_series(2, 400)`,
  );
  const hasty = await Session.open({
    database: { connectionString: database.url },
    applicationName: 'test',
    queryTimeoutMs: 10_000,
  });
  onTestFinished(() => hasty.close());
  const whole = new EventLog({ session: hasty, pageRows: 1000, maxDataBytes: 32_000 });
  const startedAt = performance.now();
  await whole.read(start);
  const tookMs = performance.now() - startedAt;
  await hasty.query(`set statement_timeout = ${Math.max(2, Math.round(tookMs / 6))}`);
  const { events } = await drain(whole, start);
  expect(events.map(({ oversize }) => oversize)).toEqual(Array.from({ length: 400 }, () => true));
});
