import type { Emitter } from '../events.ts';
import type { Fanout } from '../pusher/fanout.ts';
import type { RoomPresence } from './room-presence.ts';

/** How often frames are offered while somebody is still to be told. */
export const ROUND_MS = 200;

/** One in so many of the posts that are allowed tells of presence, at most. */
const SHARE_OF_POSTS = 10;

/** Rooms where somebody may be still to be told, round by round. */
export class Rounds {
  readonly #deps: RoundsDeps;
  readonly #postsARound: number;
  /** In the order of waiting: a room that was served goes to the end. */
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
    let posts = this.#postsARound;
    for (const room of [...this.#rooms]) {
      if (posts <= 0) break;
      this.#rooms.delete(room);
      room.publish(nowMs, this.#postsARound / ROUND_MS);
      let isSettled = !room.isChanged;
      for (const frame of room.outstanding()) {
        isSettled = false;
        if (posts <= 0) break;
        if (this.#offer(room, ...frame)) posts--;
      }
      if (isSettled) settled.push(room);
      else this.#rooms.add(room);
    }
    return settled;
  }

  #offer(room: RoomPresence, ...[connection, payload]: Parameters<Fanout['offer']>): boolean {
    const settled = this.#deps.fanout.offer(connection, payload);
    if (!settled) return false;
    this.#deps.events.emit('presence');
    void settled.then(room.told(connection));
    return true;
  }
}

export interface PresenceEvents {
  /** A frame of presence was given to a connection's lane. */
  presence: [];
}

export interface RoundsDeps {
  readonly events: Emitter<PresenceEvents>;
  readonly fanout: Pick<Fanout, 'offer'>;
  readonly postsPerSecondLimit: number;
}
