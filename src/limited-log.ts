import type { Logger } from 'pino';

/** A cause that goes on for hours is a line a minute, and one that hits 10,000 connections at once is one line. */
const INTERVAL_MS = 60_000;

/**
 * Log lines by cause: the first at once, then at most one in `INTERVAL_MS`: the last of those that came meanwhile, with how many were
 * left out (`suppressed`). So the newest line of a cause is never older than its last change by more than that.
 */
export class LimitedLog {
  readonly #log: Logger;
  readonly #waiting = new Map<string, { last: (() => void) | null; suppressed: number }>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param cause what counts as the same; of few kinds. States that follow one another are of one cause */
  line(level: 'info' | 'warn' | 'error', cause: string, fields: LogFields, message: string): void {
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
    setTimeout(() => {
      const last = this.#waiting.get(cause)?.last;
      this.#waiting.delete(cause);
      if (!last) return;
      last();
      this.#wait(cause);
    }, INTERVAL_MS).unref();
  }
}

export type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>;
