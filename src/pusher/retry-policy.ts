import { type Backoff, backoffDelayMs } from '../backoff.ts';
import type { PostOutcome } from './gateway.ts';

/** Between posts to one connection that fail: 0.1–0.2 s at first, 2.5–5 s from the sixth on. */
const BACKOFF: Backoff = { baseMs: 200, capMs: 5000 };

/**
 * API Gateway answers 410 until `$connect` has returned, and knows a connection for at most the Lambda's
 * 29 s before that: a 410 for a younger connection is not its end.
 */
const YOUNG_CONNECTION_MS = 30_000;
const YOUNG_RETRY_MS = 500;

/** What a lane does after a post that was not delivered. */
export type NextStep =
  /** The frame will never be taken: leave it out and go on. */
  | { readonly step: 'skip'; readonly reason: string }
  | { readonly step: 'retry'; readonly afterMs: number }
  /** The connection is over. */
  | { readonly step: 'remove' }
  /** The connection cannot be served while others can: close it, so that its client comes back with its cursor. */
  | { readonly step: 'close' };

/** The whole policy of delivery, as a function of what is known. */
export function nextStep(
  outcome: Exclude<PostOutcome, { kind: 'delivered' }>,
  lane: LaneHistory,
): NextStep {
  switch (outcome.kind) {
    case 'rejected':
      return { step: 'skip', reason: outcome.reason };
    case 'gone':
      return lane.ageMs < YOUNG_CONNECTION_MS
        ? { step: 'retry', afterMs: YOUNG_RETRY_MS }
        : { step: 'remove' };
    case 'throttled':
    case 'failed':
      if (lane.failingForMs > lane.deadlineMs && lane.othersDelivered) return { step: 'close' };
      return { step: 'retry', afterMs: backoffDelayMs(BACKOFF, lane.failures) };
  }
}

export interface LaneHistory {
  /** Since the connection was made. */
  readonly ageMs: number;
  /** Posts that failed in a row, this one included. */
  readonly failures: number;
  /** Since the first of them. */
  readonly failingForMs: number;
  readonly deadlineMs: number;
  /** Another connection was served since this one began to fail: the gateway works. */
  readonly othersDelivered: boolean;
}
