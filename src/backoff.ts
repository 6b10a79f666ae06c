import type { Clock } from './clock.ts';

/**
 * How long to wait before the next attempt, with full jitter from half of the step upwards.
 *
 * With base 100 and cap 5,000: after failure 1: 50–100 ms, 2: 100–200, 3: 200–400, 4: 400–800,
 * 5: 800–1,600, 6: 1,600–3,200, from 7 on: 2,500–5,000.
 */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** @param failures in a row, from 1 */
export function backoffDelayMs(clock: Clock, backoff: Backoff, failures: number): number {
  const step = Math.min(backoff.capMs, backoff.baseMs * 2 ** Math.min(failures - 1, 30));
  return step / 2 + clock.random() * (step / 2);
}
