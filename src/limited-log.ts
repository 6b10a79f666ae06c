import type { Logger } from 'pino';
import { type Clock, systemClock } from './clock.ts';

/** A cause that goes on for hours is a line a minute. */
const INTERVAL_MS = 60_000;

/**
 * Limits log lines by cause. The first line is written at once, then at most one in `INTERVAL_MS`:
 * the last of those that came meanwhile, with their number less one (`suppressed`). The newest line
 * of a cause is therefore never older than its last change by more than that.
 */
export class LimitedLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, { last: (() => void) | null; suppressed: number }>();

  constructor(log: Logger, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** @param cause lines of one cause replace one another; there are few kinds */
  log(level: 'info' | 'warn' | 'error', cause: string, fields: LogFields, message: string): void {
    const waiting = this.#waiting.get(cause);
    const write = (suppressed: number) =>
      this.#log[level](suppressed > 0 ? { ...fields, suppressed } : fields, message);
    if (!waiting) {
      write(0);
      this.#wait(cause);
      return;
    }
    if (waiting.last) waiting.suppressed++;
    const { suppressed } = waiting;
    waiting.last = () => write(suppressed);
  }

  #wait(cause: string): void {
    this.#waiting.set(cause, { last: null, suppressed: 0 });
    this.#clock
      .after(INTERVAL_MS, () => {
        const last = this.#waiting.get(cause)?.last;
        this.#waiting.delete(cause);
        if (!last) return;
        last();
        this.#wait(cause);
      })
      .unref();
  }
}

export type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>;
