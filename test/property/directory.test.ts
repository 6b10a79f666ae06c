import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Connection,
  fromItem,
  hasSameAudience,
  toItem,
} from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import { AudienceIndex } from '../../src/pusher/audience-index.ts';

/** All that is random happens in the ten seconds from here on. */
const BASE = Math.floor(Date.now() / 1000) + 3600;
const name = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'all', 'a:b', '*', ''),
  fc.string({ maxLength: 3 }),
);
const connectionId = fc.constantFrom('c1=', '__proto__', 'a/b+c=', 'toString', 'all');
const connection: fc.Arbitrary<Connection> = fc.record(
  {
    connectionId,
    userId: name,
    connectedAt: fc.integer({ min: 1, max: 3 }),
    ttl: fc.integer({ min: BASE + 1, max: BASE + 10 }),
    rooms: fc.array(name, { maxLength: 3 }),
    roles: fc.array(name, { maxLength: 3 }),
  },
  { requiredKeys: ['connectionId', 'userId', 'connectedAt', 'ttl'] },
);
const term = fc.oneof(
  fc.constant('all'),
  fc
    .tuple(fc.constantFrom('user', 'room', 'role', 'connection'), fc.oneof(name, connectionId))
    .map((parts) => parts.join(':')),
);
const step = fc.oneof(
  fc.record({
    read: fc.uniqueArray(connection, { selector: (each) => each.connectionId, maxLength: 5 }),
  }),
  fc.record({ gone: connectionId }),
  fc.record({ expireAt: fc.integer({ min: BASE + 1, max: BASE + 10 }) }),
);

/** The meaning of a term, without an index. */
function isReached(
  term: string,
  { connectionId, userId, rooms = [], roles = [] }: Connection,
): boolean {
  const [, kind, name] = /^(all|user|room|role|connection):?(.*)$/s.exec(term) as unknown as [
    string,
    string,
    string,
  ];
  if (kind === 'all') return term === 'all';
  return (
    { user: [userId], room: rooms, role: roles, connection: [connectionId] }[kind]?.includes(
      name,
    ) ?? false
  );
}

test('the index reaches whom is connected and addressed, each once, through joins, leaves, expiry and reused ids', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 12 }),
      fc.array(term, { minLength: 1, maxLength: 4 }),
      (steps, audience) => {
        const directory = new ConnectionDirectory();
        const index = new AudienceIndex<Connection>();
        directory
          .on('joined', (each) => index.add(each, each))
          .on('left', (each) => index.remove(each, each))
          .on('changed', (before, each) => {
            index.remove(before, before);
            index.add(each, each);
          });
        const present = new Map<string, Connection>();
        /** Found gone, and still in the table. */
        const forgotten = new Map<string, number>();
        let readAt = 1;
        for (const each of steps) {
          if ('read' in each) {
            for (const id of present.keys())
              if (!each.read.some((seen) => seen.connectionId === id)) present.delete(id);
            const read = new Map(each.read.map((seen) => [seen.connectionId, seen]));
            for (const [id, connectedAt] of forgotten)
              if (read.get(id)?.connectedAt !== connectedAt) forgotten.delete(id);
            for (const [id, seen] of read) {
              const known = present.get(id);
              // Where only the ttl is new, the directory changes it in place.
              const same = known?.connectedAt === seen.connectedAt && hasSameAudience(known, seen);
              if (!forgotten.has(id) && !same) present.set(id, seen);
            }
            // Later than any connection was found gone.
            directory.replaceAll(each.read, Date.now() + 1000 * readAt++);
          } else if ('gone' in each) {
            const found = present.get(each.gone);
            if (!found) continue;
            present.delete(each.gone);
            forgotten.set(found.connectionId, found.connectedAt);
            directory.gone(found);
          } else {
            for (const [id, { ttl }] of present) if (ttl <= each.expireAt) present.delete(id);
            directory.expire(each.expireAt * 1000);
          }
        }
        const reached = [...index.reach(audience)];
        const meant = [...present.values()].filter((each) =>
          audience.some((term) => isReached(term, each)),
        );
        expect(reached.length).toBe(new Set(reached).size);
        expect(new Set(reached)).toEqual(new Set(meant));
      },
    ),
    { numRuns: 5000 },
  );
});

test('a connection is the same after it was stored and read', () => {
  fc.assert(
    fc.property(connection, (each) => {
      const read = fromItem(toItem(each));
      expect({ ...read, rooms: read?.rooms ?? [], roles: read?.roles ?? [] }).toEqual({
        ...each,
        rooms: [...new Set(each.rooms)],
        roles: [...new Set(each.roles)],
      });
    }),
  );
});
