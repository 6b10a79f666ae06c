import { type Backoff, backoffDelayMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { PostOutcome } from './gateway.ts';

/** Between failed posts to one connection: 0.1–0.2 s at first, 2.5–5 s from the sixth on. */
const BACKOFF: Backoff = { baseMs: 200, capMs: 5000 };
/** Between posts to a connection that the gateway may not know yet. */
const YOUNG_RETRY_MS = 500;

/** A lane's step after a post that was not delivered. */
export type NextStep =
  /** The frame will never be taken: leave it out and go on. */
  | { readonly step: 'skip'; readonly reason: string }
  | { readonly step: 'retry'; readonly afterMs: number }
  /** The connection is over. */
  | { readonly step: 'remove' }
  /** Others are served and this connection is not: close it, so that its client resumes. */
  | { readonly step: 'close' };

/** The whole policy of delivery, as a function of what is known. */
export function nextStep(
  outcome: Exclude<PostOutcome, { kind: 'delivered' }>,
  lane: LaneHistory,
  clock: Clock,
): NextStep {
  switch (outcome.kind) {
    case 'rejected':
      return { step: 'skip', reason: outcome.reason };
    case 'gone':
      return lane.ageMs < lane.knownWithinMs
        ? { step: 'retry', afterMs: YOUNG_RETRY_MS }
        : { step: 'remove' };
    case 'throttled':
    case 'failed':
      if (lane.failingForMs > lane.deadlineMs && lane.othersDelivered) return { step: 'close' };
      return { step: 'retry', afterMs: backoffDelayMs(clock, BACKOFF, lane.failures) };
  }
}

export interface LaneHistory {
  /** Since the connection was made. */
  readonly ageMs: number;
  /** As the gateway says. */
  readonly knownWithinMs: number;
  /** Posts that failed in a row, this one included. */
  readonly failures: number;
  /** Since the first of them. */
  readonly failingForMs: number;
  readonly deadlineMs: number;
  /** Another connection was served since this one began to fail: the gateway works. */
  readonly othersDelivered: boolean;
}
