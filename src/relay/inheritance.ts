import type { Connection } from '../connections/connection.ts';
import type { Served } from '../log/cursor-store.ts';
import type { Snapshot } from '../log/snapshot.ts';
import { Exceptions, nameOf } from './exceptions.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import { JOINING, SERVED, type Standing, servedUpTo } from './recipient.ts';

/**
 * The record that the leader before left in the cursor's row, and so the standing of each
 * connection when this leader meets it.
 */
export class Inheritance {
  readonly #served: Served;
  readonly #history: PositionHistory;
  readonly #exceptions: Exceptions;
  /** The committed cursor that this leader began with. */
  readonly start: Snapshot;
  /** When this leader began, epoch ms. */
  readonly beganMs: number;

  constructor(deps: InheritanceDeps) {
    this.#served = deps.served;
    this.#history = deps.history;
    this.#exceptions = Exceptions.parse(deps.exceptions);
    this.start = deps.start;
    this.beganMs = deps.beganMs;
  }

  /** A connection that the directory knows when the leader begins: it gets every live frame. */
  first(connection: Connection): Standing {
    const pin = this.#takePin(connection);
    if (pin) return this.#withWish(connection, servedUpTo(pin));
    if (!this.#wasServed(connection)) return this.#joining(connection);
    return this.#withWish(connection, SERVED);
  }

  /**
   * A connection that the directory learns of later. Where the leader before has served it, what
   * this leader has dispatched so far is missing.
   */
  later(connection: Connection): Standing {
    const pin = this.#takePin(connection);
    const wasServed = this.#wasServed(connection);
    // Once taken over, a connection is named by what this leader knows itself.
    this.#exceptions.served.delete(nameOf(connection));
    if (!pin && !wasServed) return this.#joining(connection);
    return this.#withWish(connection, servedUpTo(pin ?? this.start));
  }

  /**
   * The leader before has served it, and may not have known that it had asked for rooms: what was
   * committed for them since is missing. Nobody has answered, either.
   */
  #withWish({ wantedAt, rooms = [] }: Connection, standing: Standing): Standing {
    if (wantedAt === undefined || wantedAt < this.#served.untilMs - CLOCK_MARGIN_MS)
      return standing;
    const upTo = standing.pin ?? this.start;
    const from = upTo.meet(this.#history.at(wantedAt - CLOCK_MARGIN_MS).snapshot);
    const gained = new Set(rooms.map((room) => `room:${room}`));
    const roomChange = standing.stage === 'live' ? { upTo, gained } : null;
    return { ...servedUpTo(from), hadReady: standing.hadReady, roomChange };
  }

  #joining({ connectedAt }: Connection): Standing {
    // A connection that came after the leader began cannot have been served before.
    const isOlder = connectedAt < this.beganMs + CLOCK_MARGIN_MS;
    return { ...JOINING, inDoubt: this.#exceptions.more && isOlder };
  }

  #wasServed(connection: Connection): boolean {
    const name = nameOf(connection);
    if (connection.connectedAt >= this.#served.untilMs) return this.#exceptions.served.has(name);
    return !this.#exceptions.unserved.has(name);
  }

  #takePin(connection: Connection): Snapshot | undefined {
    const name = nameOf(connection);
    const pin = this.#exceptions.pinned.get(name);
    this.#exceptions.pinned.delete(name);
    return pin;
  }
}

export interface InheritanceDeps {
  readonly served: Served;
  /** JSON, as exceptions.ts reads it. */
  readonly exceptions: string;
  /** The committed cursor. */
  readonly start: Snapshot;
  /** When this leader began, epoch ms. */
  readonly beganMs: number;
  readonly history: PositionHistory;
}
