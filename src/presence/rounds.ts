import type { Connection } from '../connections/connection.ts';
import type { Emitter } from '../events.ts';
import { BATCH_OVERHEAD_BYTES } from '../protocol/frame.ts';
import { batchOf, COMMA_BYTES } from '../pusher/batch.ts';
import type { Fanout } from '../pusher/fanout.ts';
import type { Payload } from '../pusher/payload.ts';
import type { RoomPresence } from './room-presence.ts';

/** How often frames are offered while somebody is still to be told. */
export const ROUND_MS = 200;

/** One in so many of the posts that are allowed tells of presence, at most. */
const SHARE_OF_POSTS = 10;

/** Rooms where somebody may be still to be told, round by round. */
export class Rounds {
  readonly #deps: RoundsDeps;
  readonly #postsARound: number;
  readonly #rooms = new Set<RoomPresence>();

  constructor(deps: RoundsDeps) {
    this.#deps = deps;
    const posts = (deps.postsPerSecondLimit / SHARE_OF_POSTS) * (ROUND_MS / 1000);
    this.#postsARound = Math.max(1, Math.floor(posts));
  }

  /** Everybody was told. */
  get isSettled(): boolean {
    return this.#rooms.size === 0;
  }

  rooms(): Iterable<RoomPresence> {
    return this.#rooms;
  }

  add(room: RoomPresence): RoomPresence {
    this.#rooms.add(room);
    return room;
  }

  /** One round. @returns rooms where everybody was told */
  tell(nowMs: number): RoomPresence[] {
    const settled: RoomPresence[] = [];
    const due = new Map<Connection, RoomFrame[]>();
    for (const room of this.#rooms) {
      room.publish(nowMs, this.#postsARound / ROUND_MS);
      let isSettled = !room.isChanged;
      for (const [connection, payload] of room.outstanding()) {
        isSettled = false;
        const frames = due.get(connection);
        if (frames) frames.push({ room, payload });
        else due.set(connection, [{ room, payload }]);
      }
      if (isSettled) settled.push(room);
    }
    for (const room of settled) this.#rooms.delete(room);
    let posts = this.#postsARound;
    for (const [connection, frames] of due)
      if (posts > 0 && this.#offer(connection, frames)) posts--;
    return settled;
  }

  /** One post: of one frame, or for a batching client of all that fit. */
  #offer(connection: Connection, frames: readonly RoomFrame[]): boolean {
    const some = connection.batch ? this.#fitting(frames) : frames.slice(0, 1);
    const [first] = some as [RoomFrame];
    const settled = this.#deps.fanout.offer(
      connection,
      some.length > 1 ? batchOf(some) : first.payload,
    );
    if (!settled) return false;
    this.#deps.events.emit('presence', some.length);
    for (const { room } of some) void settled.then(room.told(connection));
    return true;
  }

  #fitting(frames: readonly RoomFrame[]): readonly RoomFrame[] {
    let bytes = BATCH_OVERHEAD_BYTES;
    const beyond = frames.findIndex(({ payload }) => {
      bytes += payload.bytes.length + COMMA_BYTES;
      return bytes > this.#deps.maxFrameBytes;
    });
    return beyond < 0 ? frames : frames.slice(0, Math.max(1, beyond));
  }
}

/** The frame that says what is to be known of a room. */
interface RoomFrame {
  readonly room: RoomPresence;
  readonly payload: Payload;
}

export interface PresenceEvents {
  /** Frames of presence were given to a connection's lane, as one post. */
  presence: [frames: number];
}

export interface RoundsDeps {
  readonly events: Emitter<PresenceEvents>;
  readonly fanout: Pick<Fanout, 'offer'>;
  readonly postsPerSecondLimit: number;
  readonly maxFrameBytes: number;
}
