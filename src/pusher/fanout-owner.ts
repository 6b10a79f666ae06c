import type { Connection } from '../connections/connection.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import type { PostOutcome } from './gateway.ts';
import type { Payload } from './payload.ts';

/** Who decides about connections: it hears what the fan-out finds out about each. */
export interface FanoutOwner {
  /**
   * A live connection fell behind. It has every live frame up to the snapshot, or will, and none
   * after it. Frames of its replay may still wait in its lane.
   */
  fellBehind(connection: Connection, from: CursorSnapshot): void;
  /**
   * A live connection is slow, and nobody waits for it any more. Its lane has all it is missing.
   */
  lags(connection: Connection): void;
  /** A lagging connection has everything that was dispatched. */
  caughtUp(connection: Connection): void;
  /**
   * It is being closed.
   * @param from where the window of its oldest waiting frame starts; undefined where none waits, or
   * where that frame is of its replay
   */
  unservable(connection: Connection, from: CursorSnapshot | undefined): void;
  /** The connection is over: its socket is closed or gone. */
  ended(connection: Connection): void;
}

/** Heard by metrics, logs and status. */
export interface FanoutEvents {
  /** The gateway as a whole stopped answering, or answers again. */
  gateway: ['down' | 'up', PostOutcome];
  /** An event was given to the lanes of the live connections of its audience. */
  dispatched: [eventId: string, audience: readonly string[], reached: number];
  posted: [Connection, PostOutcome, tookMs: number, Payload];
  /** Posts a second that are allowed from now on. */
  paced: [postsPerSecond: number];
  /** The connection is over by the gateway's word (`gone`) or by ours (`closed`). */
  ended: [Connection, why: 'gone' | 'closed'];
}

export interface FanoutState {
  /** Connections that are delivered or replayed to. */
  readonly lanes: number;
  /** Connections that are being replayed to. */
  readonly joining: number;
  /** Connections with something that is not delivered yet. */
  readonly lanesWaiting: number;
  readonly gatewayDown: boolean;
  /** Posts a second that are allowed. */
  readonly postsPerSecond: number;
}

export interface AddressedEvent {
  /** The event's id in the log; undefined for a frame that is no event. */
  readonly id?: string;
  readonly audience: readonly string[];
  /** The frame in UTF-8; called once at most, when somebody is reached. */
  encode(): Buffer;
  /** Where it is given, the frame is the last one of those for which it is true. */
  closes?(connection: Connection): boolean;
}
