import type { Clock, Timer } from '../clock.ts';
import { type Connection, hasSameRooms } from '../connections/connection.ts';
import {
  type ConnectionDirectory,
  type DirectoryFollower,
  follow,
} from '../connections/connection-directory.ts';
import { isAllowed } from '../connections/rooms.ts';
import { OnlineReport } from './online-report.ts';
import type { OnlineTable, Watched } from './online-table.ts';
import { OnlineUser } from './online-user.ts';
import { RoomPresence } from './room-presence.ts';
import { ROUND_MS, Rounds, type RoundsDeps } from './rounds.ts';

/** A user whose last connection has ended is there for so long: most are back at once. */
const GRACE_MS = 15_000;

/** Until it is tried again to read which rooms are watched. */
const RELOAD_MS = 5000;

/**
 * Who is connected, and in which rooms, for those in the rooms that rowcast.watch_presence() names,
 * and for SQL. Only the relay that leads says it.
 *
 *     directory, membership ─▶ users ─▶ rooms: who is in each ─ rounds.ts ─▶ fan-out, behind events
 *                                └────▶ online-report.ts ─▶ rowcast.online
 *
 * - Nothing of it is in the log, and nobody waits for it: a frame is offered where nothing else
 *   waits for a connection, at most a tenth of the posts that are allowed. A connection that has
 *   not got a frame is told everything later (room-presence.ts).
 * - A new leader begins with what the directory knows: nobody leaves because of it.
 */
export class Presence implements DirectoryFollower {
  readonly #deps: PresenceDeps;
  readonly #report: OnlineReport;
  readonly #users = new Map<string, OnlineUser>();
  readonly #rooms = new Map<string, RoomPresence>();
  readonly #rounds: Rounds;
  /** In the order of time. */
  readonly #leaving = new Set<Leaving>();
  /** Names and beginnings of rooms; null before the first is watched. */
  #watched: readonly string[] | null = null;
  #unfollow: () => void = () => undefined;
  #round: Timer | undefined;
  #roundAtMs = Number.POSITIVE_INFINITY;
  #reload: Timer | undefined;
  #stopped = false;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds(deps);
    this.#report = new OnlineReport({
      ...deps,
      users: this.#users,
      isWatched: () => this.#isWatched,
    });
  }

  /** Users who are online, where that is watched. */
  get online(): number {
    return this.#users.size;
  }

  /** Reads which rooms are watched, at the beginning and when that may have changed. */
  async load(): Promise<void> {
    this.#reload?.cancel();
    try {
      this.#watch(await this.#deps.table.watched());
    } catch (error) {
      if (this.#stopped) return;
      this.#deps.failed(error);
      this.#reload = this.#deps.clock.after(RELOAD_MS, () => void this.load());
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#unfollow();
    this.#reload?.cancel();
    this.#round?.cancel();
    this.#report.stop();
  }

  joined(connection: Connection): void {
    const user = this.#users.get(connection.userId) ?? new OnlineUser(connection.userId);
    this.#users.set(user.userId, user);
    user.leavesAtMs = null;
    user.connections.set(connection, NO_ROOMS);
    if (user.learnInfo(connection)) for (const room of user.rooms) this.#room(room).touch(user);
    this.#setRooms(user, connection);
  }

  left(connection: Connection): void {
    for (const room of this.#rounds.rooms()) room.forget(connection);
    const user = this.#users.get(connection.userId);
    const rooms = user?.connections.get(connection);
    if (!user || !rooms) return;
    const atMs = this.#deps.clock.uptimeMs() + GRACE_MS;
    for (const name of rooms) {
      const room = this.#room(name);
      if (room.lose(user, connection, atMs)) this.#leaving.add({ atMs, user, room });
    }
    user.connections.delete(connection);
    if (user.connections.size === 0) {
      user.leavesAtMs = atMs;
      this.#leaving.add({ atMs, user, room: null });
    }
    this.#changed(user);
  }

  changed(before: Connection, connection: Connection): void {
    const user = this.#users.get(before.userId);
    const rooms = user?.connections.get(before);
    if (!user || !rooms || before.userId !== connection.userId) {
      this.left(before);
      this.joined(connection);
      return;
    }
    user.connections.delete(before);
    user.connections.set(connection, rooms);
    // A client that missed a frame asks for the rooms that it has.
    const isToldAgain = before.wantedAt !== connection.wantedAt && hasSameRooms(before, connection);
    for (const name of rooms) this.#rounds.add(this.#room(name));
    // Among them are those that its client is still to hear that it has left.
    for (const room of this.#rounds.rooms()) room.replace(before, connection, isToldAgain);
    this.#setRooms(user, connection);
  }

  /** It was never counted. */
  expired(): void {}

  /** The rooms that a user is in by tables have changed. */
  membershipChanged(userId: string): void {
    const user = this.#users.get(userId);
    if (user) this.#sort(user);
  }

  get #isWatched(): boolean {
    return this.#watched !== null && this.#watched.length > 0;
  }

  #watch({ rooms, isReported }: Watched): void {
    const before = this.#watched;
    if (this.#stopped || (before === null && rooms.length === 0)) return;
    this.#watched = rooms;
    if (before === null) {
      for (const connection of this.#deps.directory.all()) this.joined(connection);
      this.#unfollow = follow(this.#deps.directory, this);
    } else if (before.join() !== rooms.join())
      for (const user of this.#users.values()) this.#sort(user);
    // Everybody may notify: a report is due where somebody has begun to watch, and not each time.
    if (before === null || !isReported) this.#report.beginAnew();
  }

  #sort(user: OnlineUser): void {
    for (const connection of user.connections.keys()) this.#setRooms(user, connection);
  }

  #setRooms(user: OnlineUser, connection: Connection): void {
    const before = user.connections.get(connection) ?? NO_ROOMS;
    const rooms = this.#roomsOf(connection);
    user.connections.set(connection, rooms);
    for (const name of before)
      if (!rooms.has(name)) this.#rounds.add(this.#room(name)).leave(user, connection);
    for (const name of rooms)
      if (!before.has(name)) this.#rounds.add(this.#room(name)).enter(user, connection);
    this.#changed(user);
  }

  #roomsOf({ userId, rooms = [] }: Connection): ReadonlySet<string> {
    const watched = { names: [], patterns: this.#watched ?? [] };
    const all = [...rooms, ...this.#deps.roomsByTables(userId)];
    return new Set(all.filter((room) => isAllowed(room, watched)));
  }

  #room(name: string): RoomPresence {
    const { clock, maxFrameBytes } = this.#deps;
    const room = this.#rooms.get(name) ?? new RoomPresence(name, clock.epochMs(), maxFrameBytes);
    this.#rooms.set(name, room);
    return room;
  }

  #changed(user: OnlineUser): void {
    for (const name of user.rooms) this.#rounds.add(this.#room(name));
    this.#report.changed(user.userId);
    this.#plan();
  }

  /** The next round: soon where somebody is to be told, else when the next user may leave. */
  #plan(): void {
    const nowMs = this.#deps.clock.uptimeMs();
    const [first] = this.#leaving;
    const soonMs = this.#rounds.isSettled ? Number.POSITIVE_INFINITY : nowMs + ROUND_MS;
    const atMs = Math.min(soonMs, first?.atMs ?? Number.POSITIVE_INFINITY);
    if (atMs >= this.#roundAtMs) return;
    this.#roundAtMs = atMs;
    this.#round?.cancel();
    this.#round = this.#deps.clock.after(Math.max(0, atMs - nowMs), () => {
      this.#roundAtMs = Number.POSITIVE_INFINITY;
      this.#expire();
      for (const room of this.#rounds.tell(this.#deps.clock.uptimeMs()))
        if (room.isOver && this.#rooms.get(room.room) === room) this.#rooms.delete(room.room);
      this.#plan();
    });
  }

  /** Users who have not come back leave. */
  #expire(): void {
    const nowMs = this.#deps.clock.uptimeMs();
    for (const leaving of this.#leaving) {
      const { user, room, atMs } = leaving;
      if (atMs > nowMs) return;
      this.#leaving.delete(leaving);
      if (room) this.#rounds.add(room).expire(user, nowMs);
      else if (user.leavesAtMs !== null && user.leavesAtMs <= nowMs)
        this.#users.delete(user.userId);
      this.#report.changed(user.userId);
    }
  }
}

const NO_ROOMS: ReadonlySet<string> = new Set();

/** A user who leaves a room, or all (null), unless a connection comes back before. */
interface Leaving {
  /** In uptime. */
  readonly atMs: number;
  readonly user: OnlineUser;
  readonly room: RoomPresence | null;
}

export interface PresenceDeps extends RoundsDeps {
  readonly clock: Clock;
  readonly directory: ConnectionDirectory;
  readonly table: OnlineTable;
  /** Names of rooms that the user is in by tables. */
  roomsByTables(userId: string): readonly string[];
  /** Something could not be read or written, and is tried again. */
  failed(error: unknown): void;
}
