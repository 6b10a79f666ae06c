import type { Frame, PresentUser } from './frames.ts';
import { Listeners } from './listeners.ts';

/** Who is in a room. Nobody before the server has said so: whoever asks is in the room. */
export interface PresenceState<Info = unknown> {
  /** By id. Empty in a room of too many to name them. */
  readonly users: ReadonlyMap<string, PresentUser<Info>>;
  readonly count: number;
}

/** Who is in one room, as far as this client was told. */
export interface RoomPresence<Info = unknown> {
  /** Another object after each change. */
  readonly state: PresenceState<Info>;
  /** @returns stops it */
  subscribe(listener: (state: PresenceState<Info>) => void): () => void;
}

/** Who is in which room, by the PRESENCE frames that came. */
export class Presence {
  readonly #rooms = new Map<string, Room>();
  readonly #ask: () => void;

  /** @param ask has the server say all of it again */
  constructor(ask: () => void) {
    this.#ask = ask;
  }

  of(name: string): Room {
    const room = this.#rooms.get(name) ?? new Room();
    this.#rooms.set(name, room);
    return room;
  }

  receive(frame: Frame): void {
    if (!this.of(frame.room ?? '').receive(frame)) this.#ask();
  }
}

class Room implements RoomPresence {
  state: PresenceState = { users: new Map(), count: 0 };
  readonly #changes = new Listeners<[PresenceState]>();
  #seq = 0;

  subscribe(listener: (state: PresenceState) => void): () => void {
    return this.#changes.add(listener);
  }

  /** @returns false for a change that does not follow what came before */
  receive({ seq = 0, users: all, count, join = {}, leave = [] }: Frame): boolean {
    const isChange = !all && count === undefined;
    // During a renewal two connections say the same.
    if (isChange && seq !== this.#seq + 1) return seq <= this.#seq;
    this.#seq = seq;
    const users = new Map(isChange ? this.state.users : []);
    for (const [id, user] of Object.entries(all ?? join)) users.set(id, user);
    for (const id of leave) users.delete(id);
    this.state = { users, count: count ?? users.size };
    this.#changes.call(this.state);
    return true;
  }
}
