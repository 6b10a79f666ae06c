import type { Settings } from './options.ts';

/**
 * Full jitter: some time between nothing and a limit that doubles with each failure, so that
 * clients do not return all at once.
 */
export function retryDelayMs(settings: Settings, refused: boolean, failures: number): number {
  const { reconnectDelayMs, maxReconnectDelayMs, refusedDelayMs, maxRefusedDelayMs } = settings;
  const [first, most] = refused
    ? [refusedDelayMs, maxRefusedDelayMs]
    : [reconnectDelayMs, maxReconnectDelayMs];
  return Math.random() * Math.min(most, first * 2 ** failures);
}
