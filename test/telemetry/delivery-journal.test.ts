import { EventEmitter } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import type { Connection } from '../../src/connections/connection.ts';
import { Payload } from '../../src/pusher/payload.ts';
import type { Relay } from '../../src/relay/relay.ts';
import type { RelayEvents } from '../../src/relay/relay-events.ts';
import { DeliveryJournal } from '../../src/telemetry/delivery-journal.ts';

const CONNECTION: Connection = { connectionId: 'A=', userId: 'ada', connectedAt: 1, ttl: 2 };

/** A journal and the events that it is told of. */
function journal() {
  const relay = Object.assign(new EventEmitter<RelayEvents>(), { joining: 1 });
  const kept = new DeliveryJournal({ relay: relay as unknown as Relay, known: () => 3 });
  const post = (...eventIds: string[]) =>
    relay.emit(
      'posted',
      CONNECTION,
      { kind: 'delivered' },
      1.5,
      new Payload(Buffer.alloc(1), eventIds),
    );
  return { kept, relay, post };
}

afterEach(() => void vi.useRealTimers());

test('an event is found in each post that carried it, and in its dispatch', () => {
  const { kept, relay, post } = journal();
  relay.emit('dispatched', '7', ['all'], 2);
  post('7');
  post('6', '7', '8');
  post('77');
  expect(kept.dispatchesOf('7')).toMatchObject([{ reached: 2, connections: 3, joining: 1 }]);
  expect([...kept.postsOf('7')]).toMatchObject([
    { connection: CONNECTION, tookMs: 1.5, events: 1 },
    { events: 3, outcome: { kind: 'delivered' } },
  ]);
  expect(kept.outcomesSince(0)).toEqual({ delivered: 3 });
});

test('old events are forgotten, and known to be', () => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  const { kept, post } = journal();
  post('1');
  vi.advanceTimersByTime(599_000);
  post('2');
  expect([...kept.postsOf('1')]).toHaveLength(1);
  vi.advanceTimersByTime(2000);
  expect([...kept.postsOf('1')]).toHaveLength(0);
  expect([...kept.postsOf('2')]).toHaveLength(1);
  expect(kept.sinceMs).toBe(Date.now() - 600_000);
});

test('too many posts overwrite the oldest, and are known to', () => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  const { kept, post } = journal();
  post('1000001');
  vi.advanceTimersByTime(1000);
  for (let n = 0; n < 65_535; n++) post('1000002');
  expect([...kept.postsOf('1000001')]).toHaveLength(1);
  vi.advanceTimersByTime(1000);
  post('1000003');
  expect([...kept.postsOf('1000001')]).toHaveLength(0);
  expect([...kept.postsOf('1000003')]).toHaveLength(1);
  expect(kept.sinceMs).toBe(1_000_001_001);
  expect(kept.outcomesSince(Date.now())).toEqual({ delivered: 1 });
});

test('posts that name very many events are fewer, so that memory is bounded', () => {
  const { kept, post } = journal();
  const ids = (n: number) => Array.from({ length: 1000 }, (_, i) => String(n * 1000 + i));
  for (let n = 0; n < 500; n++) post(...ids(n));
  const known = Array.from({ length: 500 }, (_, n) => [...kept.postsOf(String(n * 1000))].length);
  expect(known.filter((posts) => posts === 1)).toHaveLength(400);
  expect(known.at(-1)).toBe(1);
});

test('events from before the journal began are not claimed to be known', () => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  const { kept } = journal();
  vi.advanceTimersByTime(1000);
  expect(kept.sinceMs).toBe(1_000_000_000);
});
