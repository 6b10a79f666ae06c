import { EventEmitter } from 'node:events';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { LimitedLog } from '../../src/limited-log.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import type { SqlSession } from '../../src/postgres/session.ts';
import { Fanout, type FanoutDeps } from '../../src/pusher/fanout.ts';
import type { FanoutEvents } from '../../src/pusher/fanout-owner.ts';
import type { Gateway } from '../../src/pusher/gateway.ts';
import { Membership } from '../../src/relay/membership.ts';

export const silent = pino({ level: 'silent' });

/** A fan-out that ends with its test. */
export function startFanout(gateway: Gateway, options: Partial<FanoutDeps> = {}): Fanout {
  const fanout = new Fanout({
    clock: systemClock,
    events: new EventEmitter<FanoutEvents>(),
    gateway,
    log: silent,
    mayPost: () => true,
    maxPostsInFlight: 64,
    postsPerSecondLimit: 100_000,
    maxFrameBytes: 32_000,
    deliveryDeadlineMs: 60_000,
    ...options,
  });
  onTestFinished(() => fanout.stop());
  return fanout;
}

/** The memberships of a database in which no table says who is in which room. */
export function noMembership(): Membership {
  const session: Pick<SqlSession, 'query'> = { query: async () => [] };
  return new Membership({
    readSession: session,
    replaySession: session,
    log: new LimitedLog(silent, systemClock),
    position: () => ({ snapshot: new Snapshot(1n, 1n, []) }),
    changed: () => undefined,
    isReplaying: () => false,
  });
}

/** A gateway whose posts end as the test says, and whose sockets can always be closed. */
export function gatewayOf(post: Gateway['post']): Gateway {
  return { knownWithinMs: 30_000, post, close: async () => ({ kind: 'delivered' }) };
}
