import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Frame, framesOf } from '../../src/client/frames.ts';
import { Presence as ToldClient } from '../../src/client/presence.ts';
import type { Connection } from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import type { OnlineRow, OnlineTable } from '../../src/presence/online-table.ts';
import { Presence } from '../../src/presence/presence.ts';
import type { PresenceEvents } from '../../src/presence/rounds.ts';
import { VirtualProcess, VirtualTime } from '../simulation/virtual-time.ts';
import { connection } from '../support/dynamodb/connection.ts';

const later = 4_000_000_000;
const POSTS_A_SECOND = 1000;

/** A presence in virtual time, with clients that hear what the test lets through. */
class Office {
  readonly time = new VirtualTime(1);
  readonly clock = new VirtualProcess('relay', this.time, 0);
  readonly directory = new ConnectionDirectory(this.clock);
  readonly clients = new Map<string, ToldClient>();
  readonly frames: { readonly id: string; readonly frame: Frame }[] = [];
  /** Something else waits for these. */
  readonly busy = new Set<string>();
  readonly rows = new Map<string, OnlineRow>();
  readonly roomsByTables = new Map<string, string[]>();
  /** The table cannot be written. */
  fails = false;
  failures = 0;
  posts = 0;
  isReported = false;
  wholeReports = 0;
  readonly presence: Presence;
  watched = ['*'];

  constructor() {
    const table = {
      watched: async () => ({ rooms: this.watched, isReported: this.isReported }),
      userIds: async () => {
        this.isReported = true;
        this.wholeReports++;
        return [...this.rows.keys()];
      },
      report: async (online: readonly OnlineRow[], gone: readonly string[]) => {
        if (this.fails) throw new Error('no');
        for (const row of online) this.rows.set(row.userId, row);
        for (const userId of gone) this.rows.delete(userId);
      },
    };
    this.presence = new Presence({
      clock: this.clock,
      events: new EventEmitter<PresenceEvents>(),
      directory: this.directory,
      table: table as unknown as OnlineTable,
      postsPerSecondLimit: POSTS_A_SECOND,
      maxFrameBytes: 32_000,
      roomsByTables: (userId) => this.roomsByTables.get(userId) ?? [],
      failed: () => this.failures++,
      fanout: {
        offer: ({ connectionId }, payload) => {
          if (this.busy.has(connectionId)) return null;
          this.posts++;
          for (const frame of framesOf(payload.bytes.toString(), false)) {
            this.frames.push({ id: connectionId, frame });
            this.client(connectionId).receive(frame);
          }
          return Promise.resolve();
        },
      },
    });
  }

  static async open(): Promise<Office> {
    const office = new Office();
    await office.presence.load();
    return office;
  }

  client(id: string): ToldClient {
    const client = this.clients.get(id) ?? new ToldClient(() => this.ask(id));
    this.clients.set(id, client);
    return client;
  }

  of(id: string): Connection | undefined {
    return [...this.directory.all()].find(({ connectionId }) => connectionId === id);
  }

  join(id: string, userId: string, more: Partial<Connection> = {}): void {
    const connectedAt = this.time.epochMs;
    this.directory.put(connection(id, { userId, connectedAt, ttl: later, ...more }));
  }

  leave(id: string): void {
    const known = this.of(id);
    if (known) this.directory.removed(known);
    this.clients.delete(id);
  }

  move(id: string, rooms: string[]): void {
    const known = this.of(id);
    if (known) this.directory.put({ ...known, rooms, wantedAt: this.time.epochMs });
  }

  /** Its client missed a frame. */
  ask(id: string): void {
    const known = this.of(id);
    if (known) this.directory.put({ ...known, wantedAt: (known.wantedAt ?? 0) + 1 });
  }

  run(ms: number): Promise<boolean> {
    return this.time.run(this.time.now + ms);
  }

  /** Ids that a client was told, by room. */
  told(id: string, room: string): string[] {
    return [...this.client(id).of(room).state.users.keys()].sort();
  }
}

const USERS = ['ann', 'bob', '__proto__', 'cid"}'];
const ROOMS = ['red', 'blue', 'gr"een'];
const index = fc.nat(3);
const change = fc.oneof(
  fc.record({ what: fc.constant('join' as const), index, user: fc.constantFrom(...USERS) }),
  fc.record({ what: fc.constant('leave' as const), index }),
  fc.record({ what: fc.constant('move' as const), index, rooms: fc.subarray(ROOMS) }),
  fc.record({ what: fc.constant('member' as const), user: fc.constantFrom(...USERS) }),
  fc.record({ what: fc.constant('busy' as const), index }),
  fc.record({ what: fc.constant('free' as const), index }),
  fc.record({ what: fc.constant('fail' as const), index }),
  fc.record({ what: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
);

test('whatever happens, all clients and the database know in the end who is in which room', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 60 }), async (changes) => {
      const office = await Office.open();
      for (const each of changes) {
        const id = 'index' in each ? `c${each.index}` : '';
        if (each.what === 'join' && !office.of(id))
          office.join(id, each.user, { rooms: ['red'], info: `"${id}"`, batch: each.index > 1 });
        else if (each.what === 'leave') office.leave(id);
        else if (each.what === 'move') office.move(id, each.rooms);
        else if (each.what === 'busy') office.busy.add(id);
        else if (each.what === 'free') office.busy.delete(id);
        else if (each.what === 'fail') office.fails = each.index > 1;
        else if (each.what === 'member') {
          const isIn = office.roomsByTables.get(each.user)?.length === 1;
          office.roomsByTables.set(each.user, isIn ? [] : ['gr"een']);
          office.presence.membershipChanged(each.user);
        } else if (each.what === 'pass') await office.run(each.ms);
      }
      office.busy.clear();
      office.fails = false;
      await office.run(40_000);
      const all = [...office.directory.all()];
      const roomsOf = ({ userId, rooms = [] }: Connection) => [
        ...new Set([...rooms, ...(office.roomsByTables.get(userId) ?? [])]),
      ];
      for (const { connectionId } of all)
        for (const room of ROOMS) {
          const isIn = all.some(
            (each) => each.connectionId === connectionId && roomsOf(each).includes(room),
          );
          const there = all.filter((each) => isIn && roomsOf(each).includes(room));
          const users = [...new Set(there.map(({ userId }) => userId))].sort();
          expect([connectionId, room, office.told(connectionId, room)]).toEqual([
            connectionId,
            room,
            users,
          ]);
        }
      const online = Object.fromEntries(
        USERS.filter((user) => all.some(({ userId }) => userId === user)).map((user) => [
          user,
          [...new Set(all.filter(({ userId }) => userId === user).flatMap(roomsOf))].sort(),
        ]),
      );
      const rows = [...office.rows.values()].map(({ userId, rooms }) => [
        userId,
        [...rooms].sort(),
      ]);
      expect(new Map(rows as never)).toEqual(new Map(Object.entries(online)));
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 1000) },
  );
});

test('a room is told at most once a second, and nothing of what is over before', async () => {
  const office = await Office.open();
  office.join('c', 'ann', { rooms: ['red'] });
  await office.run(1000);
  for (let n = 0; n < 20; n++) {
    office.join(`x${n}`, `u${n}`, { rooms: ['red'] });
    await office.run(100);
  }
  office.join('y', 'dan', { rooms: ['red'] });
  office.move('y', []);
  await office.run(2000);
  const heard = office.frames.filter(({ id }) => id === 'c');
  expect(heard.length).toBeLessThanOrEqual(5);
  expect(JSON.stringify(heard)).not.toContain('dan');
  expect(office.told('c', 'red')).toHaveLength(21);
});

test('above 500 users a room hears how many there are, and names them again from 400 down', async () => {
  const office = await Office.open();
  for (let n = 0; n < 501; n++) office.join(`c${n}`, `u${n}`, { rooms: ['red'] });
  await office.run(10_000);
  const state = () => office.client('c0').of('red').state;
  expect([state().count, state().users.size]).toEqual([501, 0]);
  const leave = async (from: number, to: number) => {
    for (let n = from; n < to; n++) office.leave(`c${n}`);
    await office.run(30_000);
  };
  await leave(450, 501);
  expect([state().count, state().users.size]).toEqual([450, 0]);
  await leave(400, 450);
  expect([state().count, state().users.size]).toEqual([400, 400]);
});

test('a room whose users do not fit into one frame hears how many there are', async () => {
  const office = await Office.open();
  const info = JSON.stringify('x'.repeat(500));
  for (let n = 0; n < 70; n++) office.join(`c${n}`, `u${n}`, { rooms: ['red'], info });
  await office.run(10_000);
  expect(office.client('c0').of('red').state).toEqual({ users: new Map(), count: 70 });
  for (const { frame } of office.frames) expect(JSON.stringify(frame).length).toBeLessThan(32_000);
});

test('a new leader tells everybody, a tenth of the posts at a time', async () => {
  const office = new Office();
  for (let n = 0; n < 300; n++) office.join(`c${n}`, `u${n}`, { rooms: [`room ${n % 3}`] });
  office.rows.set('ghost', { userId: 'ghost', rooms: ['red'], connections: 1, info: undefined });
  await office.presence.load();
  await office.run(1000);
  expect(office.frames.length).toBeLessThanOrEqual(POSTS_A_SECOND / 10);
  await office.run(3000);
  expect(office.frames).toHaveLength(300);
  expect([office.rows.has('ghost'), office.rows.size]).toEqual([false, 300]);
});

test('while a user may still come back others hear at once who comes', async () => {
  const office = await Office.open();
  office.join('c', 'ann', { rooms: ['red'] });
  office.join('d', 'bob', { rooms: ['red'] });
  await office.run(1000);
  office.leave('d');
  await office.run(5000);
  office.join('e', 'cid', { rooms: ['red'] });
  await office.run(500);
  expect(office.told('c', 'red')).toEqual(['ann', 'bob', 'cid']);
});

test('a room that was empty for a while is one room with that of before', async () => {
  const office = await Office.open();
  office.join('c', 'ann', { rooms: ['red'] });
  await office.run(1000);
  office.leave('c');
  office.join('d', 'ann', { rooms: ['red'] });
  await office.run(1000);
  office.move('d', []);
  await office.run(2000);
  office.move('d', ['red']);
  // Here ann would have left, had she not come back.
  await office.run(20_000);
  office.join('e', 'bob', { rooms: ['red'] });
  await office.run(2000);
  expect(office.told('d', 'red')).toEqual(['ann', 'bob']);
});

test('a batching client hears of all its rooms in one post, and any other of one at a time', async () => {
  const office = await Office.open();
  const rooms = Array.from({ length: 90 }, (_, n) => `room ${n}`);
  office.join('c', 'ann', { rooms, batch: true });
  await office.run(1000);
  expect([office.posts, office.frames.length]).toEqual([1, 90]);
  const info = JSON.stringify('x'.repeat(500));
  office.join('d', 'bob', { rooms, info });
  await office.run(1000);
  // 90 changes of 600 bytes are two posts.
  expect(office.posts).toBe(3 + 5);
  expect(office.told('d', 'room 0')).toEqual(['ann', 'bob']);
});

test('where no room is watched nothing is said, kept or written', async () => {
  const office = new Office();
  office.watched = [];
  await office.presence.load();
  office.join('c', 'ann', { rooms: ['red'] });
  await office.run(60_000);
  expect([office.frames, office.rows.size, office.presence.online]).toEqual([[], 0, 0]);
});

test('a report that fails is told, and made good', async () => {
  const office = await Office.open();
  await office.run(1);
  office.fails = true;
  office.join('c', 'ann', { rooms: ['red'] });
  await office.run(3500);
  expect([office.failures, office.rows.size]).toEqual([3, 0]);
  office.fails = false;
  await office.run(1500);
  expect([...office.rows.keys()]).toEqual(['ann']);
});

test('a notification that says nothing new has nobody named or told again', async () => {
  const office = await Office.open();
  office.join('c', 'ann', { rooms: ['red'] });
  await office.run(2000);
  for (let n = 0; n < 50; n++) await office.presence.load();
  await office.run(2000);
  expect([office.wholeReports, office.frames.length]).toEqual([1, 1]);
  // Somebody has unwatched all, and watched them again.
  office.isReported = false;
  office.rows.clear();
  await office.presence.load();
  await office.run(2000);
  expect([...office.rows.keys()]).toEqual(['ann']);
});
