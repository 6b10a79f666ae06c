import type { Timer } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { Snapshot } from '../log/snapshot.ts';
import type { RoomChange } from './room-change.ts';

/**
 * One connection within a leader's time.
 *
 *     replaying ── READY delivered ──▶ live ── falls behind, item changed ──▶ replaying
 *         └───────────── unservable ────┴──▶ closing ──▶ over
 *
 * Two rules are the whole guarantee across a takeover:
 *
 * 1. The cursor stays before the pin of every served recipient, or the cursor's row names the
 *    recipient with its pin. The next leader delivers to it from there.
 * 2. `served_until` stays before `connectedAt` of every recipient that is not served, or the row
 *    names it. The next leader replays to it from the client's own cursor.
 */
export class Recipient {
  readonly connection: Connection;
  #standing: Standing;
  /** Replays that it was put into. Only the last one ends with everything delivered. */
  replays = 0;
  /** Closes it where it has not caught up by then. */
  deadline: Timer | undefined;

  constructor(connection: Connection, standing: Standing) {
    this.connection = connection;
    this.#standing = standing;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** @returns whether anything changed */
  apply<Name extends keyof RecipientEvents>(name: Name, at: RecipientEvents[Name]): boolean {
    const before = this.#standing;
    this.#standing = TRANSITIONS[before.stage][name](before, at);
    return this.#standing !== before;
  }
}

/** The leader's knowledge of a recipient. */
export interface Standing {
  readonly stage: Stage;
  /** It has had its replay on this connection, by this leader or the one before. */
  readonly served: boolean;
  /** It has everything that this sees. Null where the cursor says so. */
  readonly pin: Snapshot | null;
  /** READY was delivered, by this leader or the one before. */
  readonly hadReady: boolean;
  /** Its lane has all it is missing, and its pin follows the lane. */
  readonly lagging: boolean;
  /** The leader before may have served it without naming it. */
  readonly inDoubt: boolean;
  /** Its replay is of rooms that it has joined, and of what was dispatched since; else null. */
  readonly roomChange: RoomChange | null;
}

export type Stage = 'replaying' | 'live' | 'closing';

/** Events of a recipient, each with a place in the log. */
export interface RecipientEvents {
  /** It has everything up to there, and READY is about to be sent. */
  announced: Snapshot;
  /** The READY of its last replay was delivered, and everything up to there. */
  ready: Snapshot;
  /** It is slow: from now on nobody waits for it. */
  lags: null;
  /** Its oldest waiting live frame is of the window that starts there. */
  waits: Snapshot;
  /** Its lane is empty again. */
  caughtUp: null;
  /** It has everything up to there, and the live frames after it were dropped. */
  fellBehind: Snapshot;
  /** Its socket is being closed; it has everything up to there. */
  unservable: Snapshot;
  /** Everything up to there was delivered to all who are live, and the cursor says so. */
  committed: Snapshot;
}

type Transition<At> = (now: Standing, at: At) => Standing;

const stay = (now: Standing): Standing => now;
const lag = (now: Standing): Standing => ({ ...now, lagging: true });

/** The earlier of two places, or the meet of both. */
const pinned = ({ pin }: Standing, at: Snapshot): Snapshot => (pin ? pin.meet(at) : at);

const close: Transition<Snapshot> = (now, at) => ({
  ...now,
  stage: 'closing',
  lagging: false,
  // A pin that is there stays: it is not later than `at`. Without a replay on this connection
  // nothing may be said of what it has.
  pin: now.served ? (now.pin ?? at) : now.pin,
});

const fallBehind: Transition<Snapshot> = (now, at) => ({
  ...now,
  stage: 'replaying',
  lagging: false,
  roomChange: null,
  pin: pinned(now, at),
});

/** Every event in every stage: a transition that is missing does not compile. */
export const TRANSITIONS: {
  readonly [S in Stage]: { readonly [E in keyof RecipientEvents]: Transition<RecipientEvents[E]> };
} = {
  replaying: {
    announced: (now, at) => (now.served ? now : { ...now, served: true, pin: at }),
    ready: (now, at) => ({
      ...now,
      stage: 'live',
      served: true,
      hadReady: true,
      inDoubt: false,
      roomChange: null,
      pin: at,
    }),
    lags: lag,
    waits: (now, at) => (now.pin ? now : { ...now, pin: at }),
    caughtUp: (now) => ({ ...now, lagging: false }),
    fellBehind: fallBehind,
    unservable: close,
    committed: stay,
  },
  live: {
    announced: stay,
    ready: stay,
    lags: lag,
    waits: (now, at) => (now.pin?.text === at.text ? now : { ...now, pin: at }),
    caughtUp: (now) => ({ ...now, lagging: false, pin: null }),
    fellBehind: fallBehind,
    unservable: close,
    committed: (now, at) => (!now.lagging && now.pin?.isWithin(at) ? { ...now, pin: null } : now),
  },
  // Its lane is gone, and with it what was on its way: nothing makes its pin later.
  closing: {
    announced: stay,
    ready: stay,
    lags: stay,
    waits: stay,
    caughtUp: stay,
    fellBehind: stay,
    unservable: stay,
    committed: stay,
  },
};

/** The standing of a connection whose replay is still to come. */
export const JOINING: Standing = {
  stage: 'replaying',
  served: false,
  pin: null,
  hadReady: false,
  lagging: false,
  inDoubt: false,
  roomChange: null,
};

/** The standing of a connection that the leader before has served: the cursor says what it has. */
export const SERVED: Standing = {
  stage: 'live',
  served: true,
  pin: null,
  hadReady: true,
  lagging: false,
  inDoubt: false,
  roomChange: null,
};

/** The standing of a connection that was served up to a place before the cursor. */
export function servedUpTo(pin: Snapshot): Standing {
  return { ...JOINING, served: true, pin };
}
