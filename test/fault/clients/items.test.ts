import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { expect, test } from 'vitest';
import { World } from '../../support/world.ts';

const now = Date.now();
const ttl = Math.floor(now / 1000) + 3600;
const item = { userId: 'u', connectedAt: now - 60_000, ttl };

/** As a program that writes the table by itself may leave them. */
const MALFORMED: [string, Record<string, unknown>][] = [
  ['an id of another request', { ...item, connectionId: 'a\r\nX: 1\r\n\r\nGET / HTTP/1.1' }],
  ['an id that is a path', { ...item, connectionId: '../../@connections/../x?y#z' }],
  ['an id with half a character', { ...item, connectionId: 'x\ud800' }],
  ['a connection of the far future', { ...item, connectionId: 'f=', connectedAt: now + 1e12 }],
  ['the largest number', { ...item, connectionId: 'g=', connectedAt: 1e125 }],
  ['the smallest number', { ...item, connectionId: 'h=', connectedAt: -1e125 }],
  ['fractions', { ...item, connectionId: 'i=', connectedAt: now - 0.5, ttl: ttl + 0.25 }],
  ['a ttl that is no number', { ...item, connectionId: 'j=', ttl: String(ttl) }],
  ['a ttl that never comes', { ...item, connectionId: 'k=', ttl: 1e125 }],
  ['eight thousand rooms', { ...item, connectionId: 'l=', rooms: rooms(8000) }],
  ['rooms of bytes', { ...item, connectionId: 'm=', rooms: new Set([new Uint8Array([1, 2])]) }],
  ['a list of rooms', { ...item, connectionId: 'n=', rooms: ['lobby'] }],
  ['a cursor of 300,000 digits', { ...item, connectionId: 'o=', cursor: '1'.repeat(300_000) }],
  ['a user that is null', { ...item, connectionId: 'p=', userId: null }],
  ['a map in place of a flag', { ...item, connectionId: 'q=', batch: { yes: true } }],
];

function rooms(count: number): Set<string> {
  return new Set(Array.from({ length: count }, (_, n) => `${'room'.repeat(10)}${n}`));
}

test('items that are malformed in any way are set aside, and delay nobody', async () => {
  const world = await World.start();
  const stored = await Promise.all(
    MALFORMED.map(([, Item]) =>
      world.table.client.send(new PutCommand({ TableName: world.table.table, Item })).then(
        () => true,
        () => false,
      ),
    ),
  );
  expect(stored.filter(Boolean).length).toBeGreaterThan(10);
  const relay = await world.relay();
  const client = await world.live();
  const posted = new Set<string>();
  relay.on('posted', ({ connectionId }) => posted.add(connectionId));
  await world.sql(`insert into messages (content) values ('past them')`);
  await world.sql(`select rowcast.send_to_user('u', 'hello', '1')`);
  await world.sql(`insert into messages (content) values ('and on')`);
  await client.received(2);
  expect(relay.role).toBe('leader');
  expect(relay.state).toMatchObject({ joining: 0, behind: 0 });
  expect(posted.size).toBe(1);
});
