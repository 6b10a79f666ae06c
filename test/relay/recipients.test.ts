import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Connection } from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import type { Position } from '../../src/log/event-log.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { Exceptions, nameOf } from '../../src/relay/exceptions.ts';
import { Inheritance } from '../../src/relay/inheritance.ts';
import { PositionHistory } from '../../src/relay/position-history.ts';
import { Recipients } from '../../src/relay/recipients.ts';
import type { RelayEvents } from '../../src/relay/relay-events.ts';
import type { Joining, Replay } from '../../src/relay/replay.ts';
import { gatewayOf, noMembership, startFanout } from '../support/relay-parts.ts';

const HOUR_MS = 3_600_000;
const at = (xid: number): Position => ({ snapshot: new Snapshot(BigInt(xid), BigInt(xid), []) });

/**
 * The recipients of a leader on a fan-out that delivers nothing, with replays that end when the
 * test says so.
 */
async function start(
  options: { connections?: Connection[]; exceptions?: Exceptions; readAtMs?: number } = {},
) {
  const now = Date.now();
  const directory = new ConnectionDirectory();
  directory.replaceAll(options.connections ?? [], options.readAtMs ?? now);
  const fanout = startFanout(gatewayOf(() => new Promise(() => undefined)));
  const joins: Joining[] = [];
  const served = { untilMs: now - HOUR_MS, snapshot: at(1).snapshot };
  const history = new PositionHistory({ atMs: served.untilMs, snapshot: served.snapshot });
  const recipients = new Recipients({
    clock: systemClock,
    events: new EventEmitter<RelayEvents>(),
    directory,
    fanout,
    replay: { join: (joining: Joining) => joins.push(joining) } as unknown as Replay,
    membership: noMembership(),
    history,
    inheritance: new Inheritance({
      served,
      exceptions: String(options.exceptions ?? new Exceptions()),
      start: at(50).snapshot,
      beganMs: now,
      history,
    }),
    servedUntilMs: served.untilMs,
    readUpTo: () => at(100),
    committed: () => at(50),
    commit: async () => undefined,
    removeItem: () => undefined,
  });
  await recipients.start();
  onTestFinished(() => {
    recipients.stop();
  });
  const record = (position: Position) => {
    const { exceptions, ...row } = recipients.record(position);
    return { ...row, exceptions: exceptions === null ? null : Exceptions.parse(exceptions) };
  };
  return { directory, recipients, joins, record, history, now };
}

let made = 0;
const connection = (agoMs: number, more: Partial<Connection> = {}): Connection => ({
  connectionId: `c${made++}`,
  userId: 'u',
  connectedAt: Date.now() - agoMs,
  ttl: Date.now() / 1000 + 3600,
  ...more,
});

test('a leader names nobody whom only the leader before knew, and nobody whom it is still replaying to', async () => {
  const [known, replaying, unseen] = [connection(1000), connection(1000), connection(1000)];
  const before = new Exceptions();
  for (const each of [known, unseen]) before.served.add(nameOf(each));
  before.pinned.set(nameOf(unseen), at(10).snapshot);
  const { record, joins } = await start({ connections: [known, replaying], exceptions: before });
  expect(joins.map((join) => join.connection)).toEqual([replaying]);
  const { exceptions } = record(at(60));
  expect([...(exceptions?.served ?? [])]).toEqual([nameOf(known)]);
  expect(exceptions?.pinned.size).toBe(0);
});

test('a connection named with a pin goes on from there, whether it is in the table now or read from it later', async () => {
  const [now, later] = [connection(2 * HOUR_MS), connection(1000)];
  const before = new Exceptions();
  before.pinned.set(nameOf(now), at(10).snapshot).set(nameOf(later), at(20).snapshot);
  const { directory, joins, record } = await start({ connections: [now], exceptions: before });
  directory.put(later);
  expect(joins.map(({ connection: { connectionId }, from }) => [connectionId, from?.text])).toEqual(
    [
      [now.connectionId, '10:10:'],
      [later.connectionId, '20:20:'],
    ],
  );
  const { position, delivered, exceptions } = record(at(60));
  expect([position.snapshot.text, delivered.text]).toEqual(['60:60:', '10:10:']);
  expect(exceptions?.pinned.get(nameOf(now))?.text).toBe('10:10:');
});

test('a served connection that is read only later is missing what was dispatched since the leader began', async () => {
  const [young, old] = [connection(1000), connection(2 * HOUR_MS)];
  const before = new Exceptions();
  before.served.add(nameOf(young));
  const { directory, joins } = await start({ exceptions: before });
  directory.put(young);
  directory.put(old);
  expect(joins.map(({ connection: { connectionId }, from }) => [connectionId, from?.text])).toEqual(
    [
      [young.connectionId, '50:50:'],
      [old.connectionId, '50:50:'],
    ],
  );
});

test('a served connection whose item is changed goes on from the last read of the table, and not from where the log is', async () => {
  const old = connection(2 * HOUR_MS);
  const { directory, joins, recipients, history, now } = await start({ connections: [old] });
  // The change may be as old as the read before: a row for its new room has passed it by.
  recipients.committed(at(100));
  history.record(now + 1000, at(80).snapshot);
  history.record(now + 5000, at(95).snapshot);
  directory.put({ ...old, rooms: ['lobby'] });
  expect(joins.map(({ from }) => from?.text)).toEqual(['50:50:']);
  directory.upToDate(now + 4000);
  directory.put({ ...old, rooms: ['lobby', 'den'] });
  expect(joins.at(-1)?.from?.text).toBe('50:50:');
});

test('until a leader has read the table once, its cursor stays where it began: rooms may have changed that the leader before knew of', async () => {
  const old = connection(2 * HOUR_MS);
  const { directory, record, now } = await start({
    connections: [old],
    readAtMs: Date.now() - 5000,
  });
  const before = record(at(100));
  expect([before.position.snapshot.text, before.delivered.text]).toEqual(['50:50:', '50:50:']);
  await expect.poll(() => Date.now()).toBeGreaterThan(now);
  directory.upToDate(now);
  const after = record(at(100));
  expect([after.position.snapshot.text, after.delivered.text]).toEqual(['100:100:', '100:100:']);
});

test('a leader passes a doubt on until READY has said that something may be missing', async () => {
  const young = connection(1000);
  const before = new Exceptions();
  before.more = true;
  const { joins, record } = await start({ connections: [young], exceptions: before });
  expect(joins.map(({ inDoubt }) => inDoubt)).toEqual([true]);
  expect(record(at(60)).exceptions?.more).toBe(true);
  joins[0]?.ready(at(70).snapshot);
  expect(record(at(80)).exceptions?.more).toBe(false);
});

test('an expired connection stays in the record until its socket is closed', async () => {
  const expiring = connection(2 * HOUR_MS, { ttl: Date.now() / 1000 - 1 });
  const { directory, record } = await start({ connections: [] });
  directory.replaceAll([expiring], Date.now());
  expect(record(at(60)).exceptions?.pinned.has(nameOf(expiring))).toBe(true);
  await expect.poll(() => record(at(61)).exceptions?.pinned.size ?? 0).toBe(0);
});

test('an item that is changed before its first replay is through begins it anew, from its own cursor', async () => {
  const before = connection(1000, { cursor: 'its own' });
  const { directory, joins } = await start({ connections: [before] });
  directory.put({ ...before, rooms: ['lobby'] });
  expect(joins.map(({ connection: { rooms }, from }) => [rooms, from])).toEqual([
    [undefined, undefined],
    [['lobby'], undefined],
  ]);
});

test('a connection that falls behind again keeps its earlier pin until the last of its replays is through', async () => {
  const slow = connection(2 * HOUR_MS);
  const { joins, record, recipients } = await start({ connections: [slow] });
  recipients.fellBehind(slow, at(30).snapshot);
  recipients.fellBehind(slow, at(40).snapshot);
  joins[0]?.ready(at(70).snapshot);
  expect(record(at(80)).exceptions?.pinned.get(nameOf(slow))?.text).toBe('30:30:');
  joins[1]?.ready(at(90).snapshot);
  expect(record(at(95)).exceptions?.pinned.get(nameOf(slow))?.text).toBe('90:90:');
  recipients.committed(at(95));
  expect(record(at(95)).exceptions?.pinned.size).toBe(0);
  expect(record(at(96)).exceptions).toBeNull();
});

test('past the bound of names the cursor waits for the pins that found no place, and not in the middle of a window', async () => {
  const many = Array.from({ length: 510 }, () => connection(2 * HOUR_MS));
  const { recipients, record } = await start({ connections: many });
  const pins = many.map((_, i) => new Snapshot(30n, 60n, [30n, BigInt(40 + (i % 10))]));
  for (const [i, each] of many.entries()) recipients.fellBehind(each, pins[i] as Snapshot);
  const { position, exceptions } = record({
    snapshot: at(50).snapshot,
    backlog: { until: at(90).snapshot, afterId: '5', throughId: '9' },
  });
  expect(exceptions?.pinned.size).toBe(500);
  expect(exceptions?.more).toBe(true);
  expect(position.backlog).toBeUndefined();
  const unnamed = pins.filter((_, i) => !exceptions?.pinned.has(nameOf(many[i] as Connection)));
  expect(unnamed).toHaveLength(10);
  for (const pin of unnamed) expect(position.snapshot.isWithin(pin)).toBe(true);
});

test('an old connection that has not had its replay is named, before pins that the cursor can wait for', async () => {
  const old = connection(10 * HOUR_MS);
  const before = new Exceptions();
  before.unserved.add(nameOf(old));
  const many = Array.from({ length: 510 }, () => connection(2 * HOUR_MS));
  const { recipients, record, now } = await start({
    connections: [old, ...many],
    exceptions: before,
  });
  for (const each of many) recipients.fellBehind(each, at(30).snapshot);
  const { served, exceptions, position } = record(at(60));
  expect(served.untilMs).toBeLessThan(now - 30_000);
  expect([...(exceptions?.unserved ?? [])]).toEqual([nameOf(old)]);
  expect(exceptions?.pinned.size).toBe(499);
  expect(position.snapshot.text).toBe('30:30:');
});

test('served_until does not pass a connection whose READY is not delivered, though it is named as served', async () => {
  const waiting = connection(40_000);
  const { directory, recipients, joins, record, now } = await start();
  directory.put(waiting);
  await recipients.announce([waiting], at(70).snapshot);
  expect(record(at(80)).served.untilMs).toBeLessThanOrEqual(waiting.connectedAt);
  joins[0]?.ready(at(75).snapshot);
  directory.upToDate(now);
  expect(record(at(81)).served.untilMs).toBeGreaterThan(waiting.connectedAt);
});

test('a leader with an old directory does not claim that connections made since were served', async () => {
  const now = Date.now();
  const { record } = await start({ readAtMs: now - 2 * HOUR_MS });
  const { served, exceptions } = record(at(60));
  expect(served.untilMs).toBeLessThan(now - 2 * HOUR_MS);
  expect(exceptions?.more).toBe(true);
});
