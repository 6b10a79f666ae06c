import type { Connection } from '../connections/connection.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import type { PostOutcome } from './gateway.ts';
import type { Payload } from './payload.ts';

export interface FanoutEvents {
  /**
   * A live connection fell behind: of the live stream its lane has everything up to the snapshot, and nothing after. Frames of its replay
   * may still wait there.
   */
  behind: [Connection, CursorSnapshot];
  /** A live connection is slow, and nobody waits for it any more; what it lacks waits in its lane. */
  lagging: [Connection];
  /** A lagging connection has everything that was dispatched. */
  caughtUp: [Connection];
  /** It is being closed, and lacks what the snapshot does not see; without one, some of its replay too. */
  unservable: [Connection, CursorSnapshot | undefined];
  /** The gateway as a whole stopped answering, or answers again. */
  gateway: ['down' | 'up', PostOutcome];
  /** An event was given to the lanes of the live connections of its audience. */
  dispatched: [eventId: string, audience: readonly string[], reached: number];
  posted: [Connection, PostOutcome, tookMs: number, Payload];
  /** Posts a second that are allowed from now on: less than the limit while many connections are throttled. */
  paced: [postsPerSecond: number];
  /** The connection is over by the gateway's word (`gone`) or by ours (`closed`). */
  ended: [Connection, why: 'gone' | 'closed'];
}

export interface FanoutState {
  /** Connections that are delivered or replayed to. */
  readonly lanes: number;
  /** Those that are being replayed to. */
  readonly joining: number;
  /** Those with something that is not delivered yet. */
  readonly lanesWaiting: number;
  readonly gatewayDown: boolean;
  /** Posts a second that are allowed. */
  readonly postsPerSecond: number;
}
