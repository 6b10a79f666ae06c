import { EventEmitter } from 'node:events';
import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { LimitedLog } from '../../src/limited-log.ts';
import type { Relay } from '../../src/relay/relay.ts';
import type { RelayEvents } from '../../src/relay/relay-events.ts';
import { RecentProblems } from '../../src/telemetry/recent-problems.ts';
import { StateLog } from '../../src/telemetry/state-log.ts';
import { World } from '../support/world.ts';

afterEach(() => void vi.useRealTimers());

/** Lines of a log, parsed. */
function lines() {
  const all: Record<string, unknown>[] = [];
  return {
    all,
    log: pino({ base: null }, { write: (line: string) => all.push(JSON.parse(line)) }),
  };
}

test('a cause that goes on is a line a minute, that says how many were left out; another cause is another line', () => {
  vi.useFakeTimers();
  const { all, log } = lines();
  const limited = new LimitedLog(log);
  const fail = (cause: string) =>
    limited.log('warn', cause, { event: 'post_failed', cause }, 'a post failed');
  for (let n = 0; n < 10_000; n++) fail('503');
  fail('403');
  expect(all).toMatchObject([{ cause: '503' }, { cause: '403' }]);
  vi.advanceTimersByTime(60_000);
  expect(all.slice(2)).toMatchObject([{ cause: '503', suppressed: 9998 }]);
  fail('503');
  vi.advanceTimersByTime(60_000);
  expect(all.slice(3)).toEqual([expect.not.objectContaining({ suppressed: expect.anything() })]);
  vi.advanceTimersByTime(600_000);
  expect(all).toHaveLength(4);
});

test('states that follow one another quickly end with the last in the log, which is never wrong for long', () => {
  vi.useFakeTimers();
  const { all, log } = lines();
  const relay = new EventEmitter<RelayEvents>();
  new StateLog({ relay: relay as Relay, log, postsPerSecondLimit: 4000 });
  for (const rate of [2800, 4000, 2800, 1960]) relay.emit('paced', rate);
  for (const state of ['asleep', 'awake', 'asleep'] as const) relay.emit(state);
  vi.advanceTimersByTime(60_000);
  expect(all.map(({ event, postsPerSecond }) => [event, postsPerSecond])).toEqual([
    ['throttled', 2800],
    ['asleep', undefined],
    ['throttled', 1960],
    ['asleep', undefined],
  ]);
});

test('each change of state is logged once, with its cause, and the ids of failed requests', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('asleep');
  await world.live();
  world.posts.fault = () => ({ status: 503, requestId: 'request-7' });
  await world.sql(`insert into messages (content) values ('confidential')`);
  expect(await daemon.logged('post_failed')).toMatchObject({
    status: 503,
    reason: expect.stringMatching(/request-7/),
  });
  expect(await daemon.logged('gateway_down')).toMatchObject({ outcome: { status: 503 } });
  world.heal();
  await daemon.logged('gateway_up');
  const clients = await Promise.all([1, 2, 3, 4].map(() => world.live()));
  world.posts.fault = () => ({ status: 429 });
  await world.sql(`insert into messages (content) values ('confidential')`);
  expect(await daemon.logged('throttled')).toMatchObject({ limit: 4000, postsPerSecond: 2800 });
  world.heal();
  await Promise.all(clients.map((client) => client.received(1)));
  daemon.process.kill('SIGTERM');
  await daemon.exited;
  const events = daemon.stdout.map((line) => (JSON.parse(line) as { event: string }).event);
  expect(events.filter((event) => event === 'post_failed')).toHaveLength(1);
  expect(daemon.stdout.join()).not.toMatch(/confidential|someone/);
});

test('a backlog is counted down in the log, with its rate, until it is caught up', () => {
  vi.useFakeTimers();
  const { all, log } = lines();
  const relay = new EventEmitter<RelayEvents>();
  new StateLog({ relay: relay as Relay, log, postsPerSecondLimit: 4000 });
  for (const backlog of [300, 100_000, 80_000, 81_000, 20_000, 0, 0]) {
    relay.emit('lag', {
      events: Math.min(10_000, backlog),
      backlog,
      seconds: 1,
      notificationQueueUsage: 0,
      logBytes: 0,
    });
    vi.advanceTimersByTime(10_000);
  }
  expect(
    all.map(({ event, waiting, perSecond, etaSeconds }) => ({
      event,
      waiting,
      perSecond,
      etaSeconds,
    })),
  ).toEqual([
    { event: 'catching_up', waiting: 100_000 },
    { event: 'catching_up', waiting: 80_000, perSecond: 2000, etaSeconds: 40 },
    { event: 'catching_up', waiting: 81_000, perSecond: -100 },
    { event: 'catching_up', waiting: 20_000, perSecond: 6100, etaSeconds: 4 },
    { event: 'caught_up', waiting: 0 },
  ]);
});

test('the last warnings and errors are kept, twenty of them, with their reasons', () => {
  const problems = new RecentProblems();
  const log = pino(
    { base: null, hooks: { streamWrite: problems.see } },
    { write: () => undefined },
  );
  log.info({ event: 'started' }, 'started');
  for (let n = 0; n < 25; n++) log.warn({ event: `warning_${n}`, error: 'Error: why' }, 'what');
  log.error(
    { event: 'gateway_down', outcome: { kind: 'failed', status: 503, reason: 'InternalFailure' } },
    'down',
  );
  expect(problems.all).toHaveLength(20);
  expect(problems.all[0]).toMatchObject({ event: 'warning_6', message: 'what (Error: why)' });
  log.error(
    { event: 'gateway_down', outcome: { kind: 'failed', status: 503, reason: 'InternalFailure' } },
    'down',
  );
  expect(problems.all[0]).toMatchObject({ event: 'warning_6' });
  expect(problems.all.at(-1)).toEqual({
    at: expect.any(String),
    event: 'gateway_down',
    message: 'down (503 InternalFailure)',
  });
});
