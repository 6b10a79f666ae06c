import type { Logger } from 'pino';

/** A cause that goes on for hours is a line a minute, and one that hits 10,000 connections at once is one line. */
const INTERVAL_MS = 60_000;

/**
 * Log lines by cause: the first at once, then at most one in `INTERVAL_MS`, which says how many were left out since the last
 * (`suppressed`). What is left out at the end stays unsaid; metrics count everything.
 */
export class LimitedLog {
  readonly #log: Logger;
  readonly #intervalMs: number;
  readonly #causes = new Map<string, { loggedAt: number; suppressed: number }>();

  constructor(log: Logger, intervalMs = INTERVAL_MS) {
    this.#log = log;
    this.#intervalMs = intervalMs;
  }

  /** @param cause what counts as the same; of few kinds, since each is remembered */
  line(level: 'info' | 'warn' | 'error', cause: string, fields: LogFields, message: string): void {
    const now = performance.now();
    const known = this.#causes.get(cause);
    if (known && now - known.loggedAt < this.#intervalMs) {
      known.suppressed++;
      return;
    }
    this.#causes.set(cause, { loggedAt: now, suppressed: 0 });
    this.#log[level](known?.suppressed ? { ...fields, suppressed: known.suppressed } : fields, message);
  }
}

export type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>;
