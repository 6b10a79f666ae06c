import type { DrainLoopEvents, DrainTiming } from '../log/drain-loop.ts';
import type { Position } from '../log/event-log.ts';
import type { Lag } from '../log/log-lag.ts';
import type { RetentionEvents, RetentionSettings } from '../log/retention.ts';
import type { PresenceEvents } from '../presence/rounds.ts';
import type { FanoutEvents, FanoutState } from '../pusher/fanout-owner.ts';
import type { RecipientsEvents } from './recipients.ts';
import type { ReplayEvents } from './replay-group.ts';

/** Heard by metrics, logs, status and tests: all parts of a relay emit to it directly. */
export interface RelayEvents extends LeaderEvents {
  role: [Role];
  /** A connection to Postgres was lost: the leader's own, or the one that hears the doorbell. */
  reconnect: ['database' | 'doorbell'];
  /** A notification was heard. */
  rung: [];
}

export type Role = 'starting' | 'standby' | 'leader' | 'stopped';

export interface LeaderEvents
  extends DrainLoopEvents,
    RetentionEvents,
    FanoutEvents,
    RecipientsEvents,
    ReplayEvents,
    PresenceEvents {
  /** An event is sent in part or to nobody: its row could not be captured or read as it is. */
  impaired: [eventId: string, problem: string, sentAs: 'key' | 'nobody'];
  committed: [Position];
  lag: [Lag];
}

export interface LeaderState extends FanoutState {
  /** It waits for the doorbell. */
  readonly asleep: boolean;
  /** Somebody else has the doorbell's lock: nobody rings, and rows are polled. */
  readonly doorbellTaken: boolean;
  /** Read and not delivered. */
  readonly bytesInFlight: number;
  /** Connections that were live and could not keep up, or are being closed. */
  readonly behind: number;
  /** Users who are online; 0 where no room is watched for presence. */
  readonly online: number;
}

export interface DeliverySettings {
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
  /** A connection that missed more events is told to fetch. */
  readonly replayMaxEvents: number;
  readonly retention: RetentionSettings;
}
