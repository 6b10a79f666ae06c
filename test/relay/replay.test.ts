import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Connection } from '../../src/connections/connection.ts';
import { EventLog, type Position } from '../../src/log/event-log.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { Session } from '../../src/postgres/session.ts';
import { CursorTokens } from '../../src/relay/cursor-tokens.ts';
import { PositionHistory } from '../../src/relay/position-history.ts';
import type { RelayEvents } from '../../src/relay/relay-events.ts';
import { Replay, type ReplayDeps } from '../../src/relay/replay.ts';
import { TestDatabase } from '../support/postgres/database.ts';
import { gatewayOf, noMembership, silent, startFanout } from '../support/relay-parts.ts';

/** Replays of a real log, on a fan-out that delivers everything at once. */
async function start(
  overrides: (setup: { here(): Promise<Position> }) => Partial<ReplayDeps> = () => ({}),
) {
  const database = await TestDatabase.create();
  const session = await Session.open({
    database: { connectionString: database.url },
    applicationName: 'test',
    queryTimeoutMs: 5000,
  });
  onTestFinished(async () => {
    await session.close();
    await database.close();
  });
  const here = async (): Promise<Position> => {
    const [row] = await database.sql<{ s: string }>('select pg_current_snapshot()::text as s');
    return { snapshot: Snapshot.parse(row?.s as string) };
  };
  const posted: string[] = [];
  const fanout = startFanout(
    gatewayOf(async (_, payload) => {
      posted.push(payload.bytes.toString());
      return { kind: 'delivered' };
    }),
  );
  const feed = { position: await here() };
  const start = feed.position.snapshot;
  const log = new EventLog({ session, pageRows: 100, maxDataBytes: 32_000 });
  const announced: string[] = [];
  /** Each is done by the next read of the log. */
  const reads: (() => Promise<void>)[] = [];
  const replay = new Replay({
    clock: systemClock,
    events: new EventEmitter<RelayEvents>(),
    log,
    fanout,
    history: new PositionHistory({ atMs: 0, snapshot: start }),
    cursors: new CursorTokens('00000000-0000-4000-8000-000000000000', {
      current: Buffer.alloc(32),
      former: null,
    }),
    maxEvents: 50_000,
    membership: noMembership(),
    refetchBeforeMs: Number.NEGATIVE_INFINITY,
    maxFrameBytes: 32_000,
    logger: silent,
    position: () => feed.position,
    isQuietSince: () => false,
    floor: () => 0n,
    readFloor: async () => undefined,
    durable: (place) => place,
    announce: async (connections) => {
      announced.push(...connections.map(({ connectionId }) => connectionId));
    },
    disconnected: async () => [],
    dismiss: (each, sent) => fanout.closeAfter(each, sent),
    goLive: (each) => fanout.goLive(each),
    betweenReads: async (work) => {
      await reads.shift()?.();
      return work();
    },
    fail: (error) => {
      throw error;
    },
    ...overrides({ here }),
  });
  const join = (from?: Snapshot) => {
    const connection: Connection = {
      connectionId: 'c',
      userId: 'u',
      connectedAt: Date.now(),
      ttl: 0,
    };
    fanout.open(connection);
    replay.join({
      connection,
      from,
      roomChange: null,
      inDoubt: false,
      ready: () => undefined,
    });
  };
  return { database, here, feed, log, posted, announced, join, reads };
}

const kinds = (posted: readonly string[]) =>
  posted.map((text) => /meanwhile \d|old|new|READY/.exec(text)?.[0]);

test('the log is read on while a join reads it: rows dispatched meanwhile are not missed', async () => {
  const { database, here, feed, log, posted, announced, join } = await start();
  let moves = 2;
  const between = log.between.bind(log);
  // The moment that matters, made certain: a row is committed and dispatched to those live while
  // the join's read is under way.
  log.between = async (from, until) => {
    const page = await between(from, until);
    if (moves-- > 0) {
      await database.sql(`insert into messages (content) values ('meanwhile ' || $1)`, [moves]);
      feed.position = await here();
    }
    return page;
  };
  join();
  await expect.poll(() => posted.at(-1)).toContain('READY');
  expect(kinds(posted)).toEqual(['meanwhile 1', 'meanwhile 0', 'READY']);
  expect(announced).toEqual(['c']);
});

test('a connection that is ahead of the log waits until it is read, and does not go back', async () => {
  const { database, here, feed, posted, join } = await start();
  await database.sql(`insert into messages (content) values ('old')`);
  const { snapshot } = await here();
  // A window of many pages is read, whose end is before what it has.
  const until = feed.position.snapshot;
  feed.position = { snapshot: until, backlog: { until, afterId: '0', throughId: '9' } };
  join(snapshot);
  await database.sql(`insert into messages (content) values ('new')`);
  setTimeout(async () => {
    feed.position = await here();
  }, 200);
  await expect.poll(() => posted.at(-1)).toContain('READY');
  expect(kinds(posted)).toEqual(['new', 'READY']);
});

test('a cursor that is younger than the last read of the log is good; one from the future is not, and nobody waits for it', async () => {
  const { database, here, feed, posted, join, reads } = await start();
  await database.sql(`insert into messages (content) values ('old')`);
  const { snapshot } = await here();
  reads.push(
    async () => undefined,
    async () => {
      feed.position = await here();
    },
  );
  join(snapshot);
  await expect.poll(() => posted.at(-1)).toContain('READY');
  expect(posted.at(-1)).toContain('"recovered":true');
  join(new Snapshot(10n ** 12n, 10n ** 12n, []));
  await expect.poll(() => posted.at(-1)).toContain('"recovered":false');
  expect(kinds(posted)).toEqual(['READY', 'READY']);
});

test('a connection whose replay is not whole is not announced: the next leader has to say so again', async () => {
  const { posted, announced, join } = await start(() => ({ refetchBeforeMs: Date.now() + 60_000 }));
  join();
  await expect.poll(() => posted.at(-1)).toContain('"recovered":false');
  expect(announced).toEqual([]);
});

test('rows that a former leader has removed meanwhile make a replay incomplete, though nobody here has heard of it', async () => {
  let floor = 0n;
  const { posted, announced, join } = await start(() => ({
    floor: () => floor,
    readFloor: async () => {
      floor = 10n ** 12n;
    },
  }));
  join();
  await expect.poll(() => posted.at(-1)).toContain('"recovered":false');
  expect(announced).toEqual([]);
});
