import { expect, test } from 'vitest';
import { backoffDelayMs } from '../src/backoff.ts';
import { systemClock } from '../src/clock.ts';

test('delays double with jitter up to the cap, for ever', () => {
  for (const [attempt, least, most] of [
    [1, 50, 100],
    [2, 100, 200],
    [6, 1600, 3200],
    [7, 2500, 5000],
    [10_000, 2500, 5000],
  ] as const) {
    for (let i = 0; i < 50; i++) {
      const delay = backoffDelayMs(systemClock, { baseMs: 100, capMs: 5000 }, attempt);
      expect(delay).toBeGreaterThanOrEqual(least);
      expect(delay).toBeLessThanOrEqual(most);
    }
  }
});
