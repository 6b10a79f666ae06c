import type { Connection } from '../connections/connection.ts';
import {
  type Present,
  presenceChangeFrame,
  presenceCountFrame,
  presenceFrame,
} from '../protocol/frame.ts';
import { Payload } from '../pusher/payload.ts';
import type { OnlineUser } from './online-user.ts';

/** A room of more users hears how many there are, and not who. */
const MAX_NAMED = 500;

/**
 * A room that was too large names its users again from here down: one who comes and goes at the
 * limit does not change the form of the frames each time.
 */
const NAMED_AGAIN = 400;

/** Bytes of a user's entry besides the id and the info: `"":{"n":12,"info":},`. */
const ENTRY_BYTES = 20;

/** At most once so often a room's changes are sent. */
const INTERVAL_MS = 1000;

/**
 * Who is in one room, and what each connection there knows of it: frames are numbered, and a
 * connection that has the one before gets the change, any other all of it.
 */
export class RoomPresence {
  readonly room: string;
  readonly #maxFrameBytes: number;
  readonly #present = new Map<string, Attendee>();
  /** As the frame with this number says: info by user. */
  readonly #published = new Map<string, string | undefined>();
  #publishedBytes = 0;
  #seq: number;
  readonly #touched = new Set<OnlineUser>();
  readonly #listeners = new Map<Connection, Listener>();
  #isCounted = false;
  /** Null where it is not made, or where all that was said before is to be forgotten. */
  #change: Payload | null = null;
  #whole: Payload | null = null;
  #nextAtMs = Number.NEGATIVE_INFINITY;

  /** @param seq of a time: greater than all that was said of the room before */
  constructor(room: string, seq: number, maxFrameBytes: number) {
    this.room = room;
    this.#seq = seq;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Nobody is in it or hears of it. */
  get isOver(): boolean {
    return this.#present.size === 0 && this.#listeners.size === 0;
  }

  /** Something has changed that is still to be published. */
  get isChanged(): boolean {
    return this.#touched.size > 0;
  }

  enter(user: OnlineUser, connection: Connection): void {
    const attendee = this.#present.get(user.userId) ?? { user, connections: 0, leavesAtMs: null };
    attendee.connections++;
    attendee.leavesAtMs = null;
    this.#present.set(user.userId, attendee);
    user.rooms.add(this.room);
    this.#touched.add(user);
    this.#listeners.set(connection, { has: null, isLeaving: false });
  }

  /** The connection goes on without this room: its client hears that it knows nothing any more. */
  leave(user: OnlineUser, connection: Connection): void {
    this.#listeners.set(connection, { has: null, isLeaving: true });
    const attendee = this.#oneLess(user);
    if (attendee?.connections === 0) this.#remove(user);
  }

  /**
   * The connection is over.
   * @returns whether it was the user's last here: then `expire` is due
   */
  lose(user: OnlineUser, connection: Connection, leavesAtMs: number): boolean {
    this.#listeners.delete(connection);
    const attendee = this.#oneLess(user);
    if (attendee?.connections !== 0) return false;
    attendee.leavesAtMs = leavesAtMs;
    return true;
  }

  /** The user leaves if no connection has come back. */
  expire(user: OnlineUser, nowMs: number): void {
    const leavesAtMs = this.#present.get(user.userId)?.leavesAtMs ?? null;
    if (leavesAtMs !== null && leavesAtMs <= nowMs) this.#remove(user);
  }

  /** The item of a connection was changed. @param isToldAgain its client asks for all of it */
  replace(before: Connection, connection: Connection, isToldAgain: boolean): void {
    const listener = this.#listeners.get(before);
    if (!listener) return;
    this.#listeners.delete(before);
    this.#listeners.set(connection, isToldAgain ? { ...listener, has: null } : listener);
  }

  /** The connection is over, which was still to hear that it has left. */
  forget(connection: Connection): void {
    if (this.#listeners.get(connection)?.isLeaving) this.#listeners.delete(connection);
  }

  /** Something that is known of the user has changed. */
  touch(user: OnlineUser): void {
    this.#touched.add(user);
  }

  /**
   * Makes the next frame of what has changed, when it is time.
   * @param listenersAMs how many connections may be told in a millisecond
   */
  publish(nowMs: number, listenersAMs: number): void {
    if (this.#touched.size === 0 || nowMs < this.#nextAtMs) return;
    const joined: Present[] = [];
    const left: string[] = [];
    const countBefore = this.#published.size;
    for (const user of this.#touched) this.#publishUser(user, joined, left);
    this.#touched.clear();
    if (joined.length === 0 && left.length === 0) return;
    const wasCounted = this.#isCounted;
    this.#isCounted =
      this.#published.size > (wasCounted ? NAMED_AGAIN : MAX_NAMED) ||
      this.#publishedBytes > this.#maxFrameBytes * (wasCounted ? NAMED_AGAIN / MAX_NAMED : 1);
    if (wasCounted && this.#isCounted && this.#published.size === countBefore) return;
    this.#seq++;
    this.#whole = null;
    this.#change =
      wasCounted || this.#isCounted
        ? null
        : payloadOf(presenceChangeFrame(this.room, this.#seq, joined, left));
    this.#nextAtMs = nowMs + Math.max(INTERVAL_MS, this.#listeners.size / listenersAMs);
  }

  /** Connections that do not know the latest, each with the frame that says it. */
  *outstanding(): Iterable<readonly [Connection, Payload]> {
    for (const [connection, { has, isLeaving }] of this.#listeners) {
      if (isLeaving) yield [connection, this.#nobody()];
      else if (has === this.#seq - 1 && this.#change) yield [connection, this.#change];
      else if (has !== this.#seq) yield [connection, this.#all()];
    }
  }

  /**
   * @returns remembers that the frame that is the latest now has arrived, unless the connection's
   * lane was ended meanwhile
   */
  told(connection: Connection): () => void {
    const seq = this.#seq;
    const listener = this.#listeners.get(connection);
    return () => {
      if (!listener || this.#listeners.get(connection) !== listener) return;
      if (listener.isLeaving) this.#listeners.delete(connection);
      else listener.has = seq;
    };
  }

  #publishUser(user: OnlineUser, joined: Present[], left: string[]): void {
    const { userId, info } = user;
    const attendee = this.#present.get(userId);
    const isKnown = this.#published.has(userId);
    const known = this.#published.get(userId);
    if (isKnown && attendee && known === info) return;
    if (isKnown) this.#publishedBytes -= entryBytes(userId, known);
    if (attendee) {
      joined.push(presentOf(userId, info, attendee));
      this.#published.set(userId, info);
      this.#publishedBytes += entryBytes(userId, info);
    } else if (this.#published.delete(userId)) left.push(userId);
  }

  /** All who were published: those who came since are in the next change. */
  #all(): Payload {
    this.#whole ??= payloadOf(
      this.#isCounted
        ? presenceCountFrame(this.room, this.#seq, this.#published.size)
        : presenceFrame(
            this.room,
            this.#seq,
            Array.from(this.#published, ([userId, info]) =>
              presentOf(userId, info, this.#present.get(userId)),
            ),
          ),
    );
    return this.#whole;
  }

  #nobody(): Payload {
    return payloadOf(presenceFrame(this.room, this.#seq, []));
  }

  #oneLess(user: OnlineUser): Attendee | undefined {
    const attendee = this.#present.get(user.userId);
    if (attendee) attendee.connections--;
    return attendee;
  }

  #remove(user: OnlineUser): void {
    this.#present.delete(user.userId);
    user.rooms.delete(this.room);
    this.#touched.add(user);
  }
}

/** A user in the room. */
interface Attendee {
  readonly user: OnlineUser;
  connections: number;
  /** In uptime; null while a connection is in the room. */
  leavesAtMs: number | null;
}

/** A connection in the room, or one that is to hear that it has left. */
interface Listener {
  /** The number of the frame that it was told last; null where it knows nothing. */
  has: number | null;
  isLeaving: boolean;
}

/** A user who may still come back counts as one who is there. */
function presentOf(userId: string, info: string | undefined, attendee?: Attendee): Present {
  return { userId, info, connections: Math.max(1, attendee?.connections ?? 1) };
}

function payloadOf(frame: string): Payload {
  return new Payload(Buffer.from(frame));
}

function entryBytes(userId: string, info = ''): number {
  return ENTRY_BYTES + Buffer.byteLength(userId) + Buffer.byteLength(info);
}
