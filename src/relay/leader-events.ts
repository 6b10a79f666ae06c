import type { Connection } from '../connections/connection.ts';
import type { DrainTiming } from '../log/drain-loop.ts';
import type { Position } from '../log/event-log.ts';
import type { Lag } from '../log/log-lag.ts';
import type { RetentionSettings } from '../log/retention.ts';
import type { FanoutEvents, FanoutState } from '../pusher/fanout-events.ts';
import type { ReplayEvents } from './replay.ts';

export interface TermState extends FanoutState {
  /** It waits for the doorbell. */
  readonly asleep: boolean;
  /** Read and not delivered. */
  readonly bytesInFlight: number;
  /** Connections that were live and could not keep up, or cannot be served and are being closed. */
  readonly behind: number;
}

export interface TermEvents
  extends Omit<FanoutEvents, 'behind' | 'unservable' | 'lagging' | 'caughtUp'>,
    ReplayEvents {
  /** A live connection could not keep up: nobody waits for it, and it goes on from its lane or from the log. */
  behind: [Connection];
  /** The log was read, with rows or without. */
  read: [rows: number];
  /** An event is not as it was written: its data is left out or mended, or it addresses nobody. */
  impaired: [eventId: string, problem: string, sentAs: 'key' | 'nobody'];
  asleep: [];
  awake: [];
  committed: [Position];
  lag: [Lag];
  /** Rows that retention removed. */
  removed: [rows: number];
  /** Rows among those that could not be delivered in time. */
  lost: [rows: number];
}

export interface TermSettings {
  readonly doorbell: boolean;
  readonly timing: DrainTiming;
  /** Rows that one statement reads. */
  readonly pageRows: number;
  /** Read and not yet delivered; the rest waits in Postgres. */
  readonly maxBytesInFlight: number;
  readonly maxFrameBytes: number;
  readonly maxPostsInFlight: number;
  readonly postsPerSecondLimit: number;
  readonly deliveryDeadlineMs: number;
  readonly retention: RetentionSettings;
}
