import { setTimeout } from 'node:timers/promises';

/**
 * How long to wait before attempt n + 1, with full jitter from half of the step upwards.
 *
 * With base 100 and cap 5,000: attempt 1: 50–100 ms, 2: 100–200, 3: 200–400, 4: 400–800, 5: 800–1,600,
 * 6: 1,600–3,200, from 7 on: 2,500–5,000.
 */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** @param attempt how often it failed in a row, from 1 */
export function backoffDelayMs(backoff: Backoff, attempt: number): number {
  const step = Math.min(backoff.capMs, backoff.baseMs * 2 ** Math.min(attempt - 1, 30));
  return step / 2 + Math.random() * (step / 2);
}

/** Resolves after `ms`, or as soon as the signal aborts; never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}

/** Resolves when the signal aborts. @param until nobody waits for it any more */
export function aborted(signal: AbortSignal, until?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener('abort', () => resolve(), {
        once: true,
        ...(until ? { signal: until } : {}),
      });
  });
}
