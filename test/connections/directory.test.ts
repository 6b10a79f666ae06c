import { once } from 'node:events';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { AudienceIndex } from '../../src/connections/audience-index.ts';
import { type Connection, fromItem, toItem } from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import { ScanFeed } from '../../src/connections/scan-feed.ts';
import { startTable, type TestTable } from '../support/dynamodb.ts';

const later = Math.floor(Date.now() / 1000) + 3600;
const connection = (connectionId: string, more: Partial<Connection> = {}): Connection => ({
  connectionId,
  userId: 'u',
  connectedAt: 1,
  ttl: later,
  ...more,
});

describe('the directory', () => {
  function directory() {
    const made = new ConnectionDirectory();
    const events: string[] = [];
    made
      .on('joined', ({ connectionId, connectedAt }) => events.push(`+${connectionId}${connectedAt}`))
      .on('left', ({ connectionId, connectedAt }) => events.push(`-${connectionId}${connectedAt}`));
    return { made, events };
  }

  test('tells joins and leaves as the differences between complete reads', () => {
    const { made, events } = directory();
    made.replaceAll([connection('a'), connection('b')], 10);
    made.replaceAll([connection('b'), connection('c')], 20);
    expect(events).toEqual(['+a1', '+b1', '+c1', '-a1']);
    expect([made.size, made.asOf]).toEqual([2, 20]);
  });

  test('an id that was used again is another connection', () => {
    const { made, events } = directory();
    made.replaceAll([connection('a')], 10);
    made.replaceAll([connection('a', { connectedAt: 2 })], 20);
    expect(events).toEqual(['+a1', '-a1', '+a2']);
  });

  test('what had expired before it was first seen is not connected, and told at each read until it is closed', () => {
    const { made, events } = directory();
    const overdue: string[] = [];
    made.on('overdue', ({ connectionId }) => overdue.push(connectionId));
    const expired = connection('a', { ttl: 5 });
    const began = Date.now();
    made.replaceAll([expired, connection('b')], began);
    made.replaceAll([expired, connection('b')], began);
    made.forget(expired);
    made.replaceAll([expired, connection('b')], began);
    expect([events, overdue]).toEqual([['+b1'], ['a', 'a']]);
  });

  test('what was found gone does not come back with a read that began before', () => {
    const { made, events } = directory();
    const gone = connection('a');
    const began = Date.now() - 5;
    made.replaceAll([gone], began - 5);
    made.forget(gone);
    made.replaceAll([gone], began);
    expect(made.size).toBe(0);
    made.replaceAll([gone, connection('a', { connectedAt: 9 })], began);
    made.replaceAll([], Date.now() + 1000);
    made.replaceAll([gone], Date.now() + 2000);
    expect(events).toEqual(['+a1', '-a1', '+a9', '-a9', '+a1']);
  });
});

describe('the scan feed', () => {
  let table: TestTable;
  beforeAll(async () => {
    table = await startTable();
  });
  afterAll(() => table.stop());

  function feedInto(directory: ConnectionDirectory) {
    const feed = new ScanFeed({ ...table, refreshIntervalMs: 20, sink: directory, log: pino({ level: 'silent' }) });
    onTestFinished(() => feed.stop());
    return feed;
  }

  test('reads every page, leaves out what has expired and what is no connection, and follows changes', async () => {
    const large = { rooms: Array.from({ length: 100 }, (_, i) => `room-${i}-${'x'.repeat(100)}`) };
    const ids = Array.from({ length: 200 }, (_, i) => `id-${i}`);
    await Promise.all(ids.map((id) => table.store.put(connection(id, large))));
    await table.store.put(connection('expired', { ttl: 1 }));
    await table.store.put(connection('broken', { userId: undefined as unknown as string }));
    const directory = new ConnectionDirectory();
    await feedInto(directory).start();
    expect([...directory.all()].map(({ connectionId }) => connectionId).sort()).toEqual([...ids].sort());
    await table.store.put(connection('new'));
    expect((await once(directory, 'joined'))[0]).toMatchObject({ connectionId: 'new' });
    await table.store.remove('new');
    expect((await once(directory, 'left'))[0]).toMatchObject({ connectionId: 'new' });
  });

  test('goes on with what it knows while the table is away, and recovers', async () => {
    const gone = await startTable();
    const feed = new ScanFeed({
      ...gone,
      refreshIntervalMs: 20,
      sink: new ConnectionDirectory(),
      log: pino({ level: 'silent' }),
    });
    await feed.start();
    await gone.stop();
    await feed.stop();
    await feed.stop();
  });
});

test('an item of the first four attributes alone is a connection', () => {
  expect(fromItem({ connectionId: 'a', userId: 'u', connectedAt: 1, ttl: 2 })).toEqual({
    connectionId: 'a',
    userId: 'u',
    connectedAt: 1,
    ttl: 2,
  });
  expect(
    toItem({ connectionId: 'a', userId: 'u', connectedAt: 1, ttl: 2, rooms: [], roles: [], batch: false }),
  ).toEqual({ connectionId: 'a', userId: 'u', connectedAt: 1, ttl: 2 });
});

test('an audience reaches each of its members once, and prototype names are names', () => {
  const index = new AudienceIndex<{ name: string }>();
  const members = ['__proto__', 'constructor', 'bob'].map((name) => ({ name }));
  for (const member of members)
    index.add({ connectionId: member.name, userId: member.name, rooms: ['toString'] }, member);
  const reach = (...audience: string[]) => [...index.reach(audience)].map(({ name }) => name);
  expect(reach('user:__proto__')).toEqual(['__proto__']);
  expect(reach('user:hasOwnProperty')).toEqual([]);
  expect(reach('room:toString', 'user:bob', 'connection:bob', 'all')).toEqual(['__proto__', 'constructor', 'bob']);
  for (const member of members)
    index.remove({ connectionId: member.name, userId: member.name, rooms: ['toString'] }, member);
  expect(reach('all')).toEqual([]);
});
