import type { LimitedLog } from '../limited-log.ts';
import { dispatchedUpTo, type Page, type Position } from '../log/event-log.ts';
import type { LoggedEvent } from '../log/logged-event.ts';
import {
  covers,
  isMembershipChange,
  isOpen,
  MAX_ROOMS_BY_TABLE,
  type PlacedEvent,
  readChangedStays,
  readStays,
  type Stay,
} from '../log/memberships.ts';
import type { SqlSession } from '../postgres/session.ts';
import { leftOutBy, normalTerm } from '../protocol/audience.ts';
import { UnreadChanges } from './unread-changes.ts';

/** Users whose stays are read by one statement. */
const USERS_A_READ = 1000;

/**
 * Which connected users are in which rooms by tables of the application's (rowcast.rooms_from()).
 *
 * Whether an event is for a member is a question of what was committed when, and of nothing that
 * this leader did: the event has to lie within one of the user's stays (log/memberships.ts). So it
 * has the same answer live, in a replay and after a takeover. Two things make it true:
 *
 * 1. A user's stays are known before anything is sent to a connection: read when it joins
 *    (`load`), and before each window that changes them is delivered (`follow`).
 * 2. A read may be ahead of the log's reader. A room with a change that is still to be read there
 *    is asked event by event; of the others it is enough who is in it.
 *
 * A user is found by his own term, which every index of connections has.
 */
export class Membership {
  readonly #deps: MembershipDeps;
  /** Stays by the terms of room and user. */
  readonly #rooms = new Map<string, Map<string, Stay[]>>();
  readonly #users = new Map<string, TrackedUser>();
  readonly #unread: UnreadChanges;
  #version = 0;

  constructor(deps: MembershipDeps) {
    this.#deps = deps;
    this.#unread = new UnreadChanges(() => deps.position().snapshot);
  }

  /** Grows when a stay begins or ends. */
  get version(): number {
    return this.#version;
  }

  /** A connection of the user is there: changes are followed from now on. */
  track(userId: string): void {
    const term = termOf(userId);
    const user = this.#users.get(term);
    if (user) user.connections++;
    else
      this.#users.set(term, { userId: userId.normalize('NFC'), connections: 1, rooms: new Set() });
  }

  /** A connection of the user is over. */
  untrack(userId: string): void {
    const term = termOf(userId);
    const user = this.#users.get(term);
    if (!user || --user.connections > 0) return;
    this.#users.delete(term);
    for (const room of user.rooms) this.#forget(room, term);
  }

  /**
   * Reads the stays of users who are tracked.
   * @throws when the database is lost
   */
  async load(userIds: Iterable<string>): Promise<void> {
    const all = [...new Set(Array.from(userIds, (userId) => userId.normalize('NFC')))];
    for (let i = 0; i < all.length; i += USERS_A_READ) {
      const some = all.slice(i, i + USERS_A_READ);
      for (const stay of await readStays(this.#deps.replaySession, some)) this.#learn(stay);
    }
  }

  /**
   * Learns what a page changes, before it is delivered: of a window of several pages, before the
   * first of them.
   * @param from where the page begins
   * @throws when the database is lost
   */
  async follow(page: Page, from: Position): Promise<void> {
    for (const room of this.#unread.pass(from.snapshot)) this.#forgetFormer(room);
    if (from.backlog || !(page.next.backlog || page.events.some(isMembershipChange))) return;
    const window = { start: from.snapshot, until: dispatchedUpTo(page.next) };
    const users =
      this.#users.size <= USERS_A_READ
        ? Array.from(this.#users.values(), ({ userId }) => userId)
        : null;
    for await (const stays of readChangedStays(this.#deps.readSession, window, users))
      for (const stay of stays) this.#learn(stay);
  }

  /** The event's audience, and the users who are in its rooms as of the event. */
  audienceOf(event: AddressedRow): readonly string[] {
    return this.#widen(event.audience, (room, stays) =>
      stays.some(this.#unread.has(room) ? (stay) => covers(stay, event) : isOpen),
    );
  }

  /**
   * The same for an event of whenever, which a replay has read.
   * @param users terms of those whom it may be for
   * @param still of those who are in the room now as well
   */
  formerAudienceOf(
    event: AddressedRow,
    users: ReadonlySet<string>,
    still: boolean,
  ): readonly string[] {
    return this.#widen(
      event.audience,
      (_, stays) => stays.some((stay) => covers(stay, event)) && (!still || stays.some(isOpen)),
      users,
    );
  }

  /** Terms of rooms that the user is in, or was. */
  roomsOf(userId: string): Iterable<string> {
    return this.#users.get(termOf(userId))?.rooms ?? [];
  }

  /** Names of the rooms that the user is in, as far as the log was followed. */
  roomsNow(userId: string): string[] {
    const user = termOf(userId);
    const rooms = [...this.roomsOf(userId)].filter((room) => this.#isInNow(user, room));
    return rooms.map((room) => room.slice('room:'.length));
  }

  /** The log is read up to every change that is known of the users' rooms. @param users terms */
  isReadFor(users: Iterable<string>): boolean {
    for (const user of users)
      if (!this.#unread.isRead(this.#users.get(user)?.rooms ?? [])) return false;
    return true;
  }

  /** The user is in the room, as far as the log was followed. */
  isIn(userId: string, room: string): boolean {
    return this.#isInNow(termOf(userId), normalTerm(`room:${room}`));
  }

  /** @param user by its term, and so the room */
  #isInNow(user: string, room: string): boolean {
    return this.#rooms.get(room)?.get(user)?.some(isOpen) ?? false;
  }

  #widen(
    audience: readonly string[],
    isIn: (room: string, stays: readonly Stay[]) => boolean,
    users?: ReadonlySet<string>,
  ): readonly string[] {
    if (this.#rooms.size === 0) return audience;
    const more: string[] = [];
    for (const term of audience) {
      const leftOut = leftOutBy(term);
      const room = normalTerm(leftOut ?? term);
      const members = this.#rooms.get(room);
      if (!members) continue;
      const fewer = users && users.size < members.size ? users : members.keys();
      for (const user of fewer) {
        const stays = members.get(user);
        if (!stays || (users && !users.has(user)) || !isIn(room, stays)) continue;
        more.push(leftOut ? `!${user}` : user);
      }
    }
    return more.length === 0 ? audience : [...audience, ...more];
  }

  #learn(stay: Stay): void {
    const user = termOf(stay.userId);
    const tracked = this.#users.get(user);
    if (!tracked) return;
    const room = normalTerm(`room:${stay.room}`);
    if (!tracked.rooms.has(room) && this.#isFull(user, tracked)) {
      if (!stay.left) this.#tellFull(stay.userId);
      return;
    }
    tracked.rooms.add(room);
    const members = this.#rooms.get(room) ?? new Map<string, Stay[]>();
    this.#rooms.set(room, members);
    const stays = members.get(user) ?? [];
    const known = stays.findIndex(({ name }) => name === stay.name);
    // A read that began earlier may be answered later.
    if (known >= 0 && (stays[known]?.left || !stay.left)) return;
    if (known >= 0) stays[known] = stay;
    else stays.push(stay);
    members.set(user, stays);
    this.#version++;
    for (const change of stay.left ? [stay.joined, stay.left] : [stay.joined])
      this.#unread.add(room, change);
    this.#deps.changed(tracked.userId);
  }

  /** Rooms that the user was in count only where the user is in as many. */
  #isFull(user: string, { rooms }: TrackedUser): boolean {
    if (rooms.size < MAX_ROOMS_BY_TABLE) return false;
    let open = 0;
    for (const room of rooms) if (this.#isInNow(user, room)) open++;
    return open >= MAX_ROOMS_BY_TABLE;
  }

  #tellFull(userId: string): void {
    this.#deps.log.log(
      'warn',
      'too_many_rooms',
      { event: 'too_many_rooms', userId, limit: MAX_ROOMS_BY_TABLE },
      'a user is in more rooms by tables than are followed; the latest are left out',
    );
  }

  /** Stays that are over: only a replay asks for them, and reads them when it begins. */
  #forgetFormer(room: string): void {
    const members = this.#rooms.get(room) ?? new Map<string, Stay[]>();
    for (const [user, stays] of members) {
      const userId = this.#users.get(user)?.userId;
      if (stays.every(isOpen) || (userId !== undefined && this.#deps.isReplaying(userId))) continue;
      const open = stays.filter(isOpen);
      if (open.length > 0) members.set(user, open);
      else {
        this.#users.get(user)?.rooms.delete(room);
        this.#forget(room, user);
      }
    }
  }

  #forget(room: string, user: string): void {
    const members = this.#rooms.get(room);
    members?.delete(user);
    if (members?.size === 0) this.#rooms.delete(room);
  }
}

/** As much of an event as decides whom it is for. */
export type AddressedRow = PlacedEvent & Pick<LoggedEvent, 'audience'>;

interface TrackedUser {
  readonly userId: string;
  connections: number;
  /** Terms of the rooms that it has stays in. */
  readonly rooms: Set<string>;
}

function termOf(userId: string): string {
  return normalTerm(`user:${userId}`);
}

export interface MembershipDeps {
  /** Between the reads of the log. */
  readonly readSession: Pick<SqlSession, 'query'>;
  readonly replaySession: Pick<SqlSession, 'query'>;
  readonly log: LimitedLog;
  /** How far the log was read and handed to delivery. */
  position(): Position;
  /** A connection of the user is being replayed to. */
  isReplaying(userId: string): boolean;
  /** The user has joined a room, or left one. */
  changed(userId: string): void;
}
