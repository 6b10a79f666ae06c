import { describe, expect, test } from 'vitest';
import { type Connection, fromItem, toItem } from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import { AudienceIndex } from '../../src/pusher/audience-index.ts';
import { connection } from '../support/dynamodb/connection.ts';

describe('the directory', () => {
  function directory() {
    const made = new ConnectionDirectory();
    const events: string[] = [];
    made
      .on('joined', ({ connectionId, connectedAt }) =>
        events.push(`+${connectionId}${connectedAt}`),
      )
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

  test('single changes: what is older than what is known is no news', () => {
    const { made, events } = directory();
    made.put(connection('a', { connectedAt: 5 }));
    made.put(connection('a', { connectedAt: 4 }));
    made.put(connection('a', { connectedAt: 5 }));
    made.removed(connection('a', { connectedAt: 4 }));
    made.put(connection('a', { connectedAt: 6 }));
    made.removed(connection('a', { connectedAt: 6 }));
    made.removed(connection('b'));
    expect(events).toEqual(['+a5', '-a5', '+a6', '-a6']);
  });

  test('a connection found gone does not come back by a change that is read late', () => {
    const { made, events } = directory();
    made.put(connection('a'));
    const [gone] = made.all();
    made.gone(gone as Connection);
    made.put(connection('a'));
    made.put(connection('a', { connectedAt: 2 }));
    expect(events).toEqual(['+a1', '-a1', '+a2']);
  });

  test('a connection that had expired before it was first seen is announced at each read until it is closed', () => {
    const { made, events } = directory();
    const heard: string[] = [];
    made.on('expired', ({ connectionId }) => heard.push(connectionId));
    const expired = connection('a', { ttl: 5 });
    const began = Date.now();
    made.replaceAll([expired, connection('b')], began);
    made.replaceAll([expired, connection('b')], began);
    made.gone(expired);
    made.replaceAll([expired, connection('b')], began);
    expect([events, heard]).toEqual([['+b1'], ['a', 'a']]);
  });

  test('an item that was changed in place is told as what it was and what it is; a new end is its own matter', () => {
    const { made, events } = directory();
    const changes: unknown[] = [];
    made.on('changed', (before, { rooms }) => changes.push([before.rooms, rooms]));
    made.replaceAll([connection('a', { rooms: ['x', 'y'], roles: ['r'] })], 10);
    made.replaceAll([connection('a', { rooms: ['y', 'x'], roles: ['r'] })], 20);
    made.put(connection('a', { rooms: ['y', 'z'], roles: ['r'] }));
    expect(changes).toEqual([
      [
        ['x', 'y'],
        ['y', 'z'],
      ],
    ]);
    made.replaceAll([connection('a', { rooms: ['y', 'z'], roles: ['r'], ttl: 1 })], 30);
    expect(events).toEqual(['+a1']);
    made.expire(2000);
    expect([made.size, events, [...made.expired()].length]).toEqual([0, ['+a1', '-a1'], 1]);
    expect(changes).toHaveLength(1);
  });

  test('a connection found gone does not come back for as long as its item is in the table', () => {
    const { made, events } = directory();
    made.replaceAll([connection('a')], Date.now() - 10);
    made.gone([...made.all()][0] as Connection);
    for (let n = 1; n <= 3; n++) made.replaceAll([connection('a')], Date.now() + 1000 * n);
    made.put(connection('a'));
    expect(events).toEqual(['+a1', '-a1']);
  });

  test('a connection found gone does not come back with a read that began before', () => {
    const { made, events } = directory();
    const gone = connection('a');
    const began = Date.now() - 5;
    made.replaceAll([gone], began - 5);
    made.gone(gone);
    made.replaceAll([gone], began);
    expect(made.size).toBe(0);
    made.replaceAll([gone, connection('a', { connectedAt: 9 })], began);
    made.replaceAll([], Date.now() + 1000);
    made.replaceAll([gone], Date.now() + 2000);
    expect(events).toEqual(['+a1', '-a1', '+a9', '-a9', '+a1']);
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
    toItem({
      connectionId: 'a',
      userId: 'u',
      connectedAt: 1,
      ttl: 2,
      rooms: [],
      roles: [],
      batch: false,
    }),
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
  expect(reach('room:toString', 'user:bob', 'connection:bob', 'all')).toEqual([
    '__proto__',
    'constructor',
    'bob',
  ]);
  for (const member of members)
    index.remove({ connectionId: member.name, userId: member.name, rooms: ['toString'] }, member);
  expect(reach('all')).toEqual([]);
});
