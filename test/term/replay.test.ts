import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import type { Connection } from '../../src/connections/connection.ts';
import { EventLog, type Position } from '../../src/listener/event-log.ts';
import { Session } from '../../src/listener/session.ts';
import { Snapshot } from '../../src/listener/snapshot.ts';
import { Fanout } from '../../src/pusher/fanout.ts';
import { PositionHistory } from '../../src/term/position-history.ts';
import { Replay } from '../../src/term/replay.ts';
import { TestDatabase } from '../support/database.ts';

test('the feed moves on while a join reads the log: what it dispatched meanwhile is not missed', async () => {
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
  const fanout = new Fanout({
    gateway: {
      post: async (_, payload) => {
        posted.push(payload.bytes.toString());
        return { kind: 'delivered' };
      },
      close: async () => ({ kind: 'delivered' }),
    },
    log: pino({ level: 'silent' }),
    mayPost: () => true,
    maxPostsInFlight: 10,
    postsPerSecondLimit: 1000,
    maxFrameBytes: 32_000,
    deliveryDeadlineMs: 1000,
  });
  onTestFinished(() => fanout.stop());
  let position = await here();
  const start = position.snapshot;
  const log = new EventLog({ session, pageRows: 100, maxDataBytes: 32_000 });
  let moves = 2;
  const between = log.between.bind(log);
  // The moment that matters, made certain: a row is committed and dispatched to those live while the join's read is under way.
  log.between = async (from, until) => {
    const page = await between(from, until);
    if (moves-- > 0) {
      await database.sql(`insert into messages (content) values ('meanwhile ' || $1)`, [moves]);
      position = await here();
    }
    return page;
  };
  const replay = new Replay({
    log,
    fanout,
    history: new PositionHistory({ atMs: 0, snapshot: start }),
    installation: '00000000',
    xmax: start.xmax,
    adoptedAtMs: Number.NEGATIVE_INFINITY,
    maxFrameBytes: 32_000,
    logger: pino({ level: 'silent' }),
    position: () => position,
    floor: () => 0n,
    durable: (place) => place,
    announce: async () => undefined,
    goLive: (each) => fanout.goLive(each),
    holdFeed: (work) => work(),
    fail: (error) => {
      throw error;
    },
  });
  const connection: Connection = { connectionId: 'c', userId: 'u', connectedAt: Date.now(), ttl: 0 };
  fanout.open(connection);
  replay.join({ connection, from: undefined, mayHaveBeenServed: false, ready: () => undefined });
  await expect.poll(() => posted.at(-1)).toContain('READY');
  expect(posted.map((text) => /meanwhile \d|READY/.exec(text)?.[0])).toEqual(['meanwhile 1', 'meanwhile 0', 'READY']);
});
