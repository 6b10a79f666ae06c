import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { pause, systemClock } from '../clock.ts';
import { LimitedLog } from '../limited-log.ts';
import type { ConnectionFeed, DirectorySink } from './connection-directory.ts';

/**
 * After a failed round: 0.25–0.5 s, then doubling, at most 10 s. The directory goes on with what it
 * has.
 */
const RETRY: Backoff = { baseMs: 500, capMs: 10_000 };

/**
 * The loop of every feed: one round after another until it is stopped, later after a failure.
 * Connections expire meanwhile.
 */
export abstract class FeedLoop<Deps extends FeedLoopDeps> implements ConnectionFeed {
  protected readonly deps: Deps;
  protected readonly log: LimitedLog;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #tableRead: Promise<void> | undefined;

  constructor(deps: Deps) {
    this.deps = deps;
    this.log = new LimitedLog(deps.log);
  }

  /** Resolves once the table was read whole for the first time, or the feed was stopped. */
  start(): Promise<void> {
    this.#tableRead ??= new Promise((resolve) => {
      this.#running = this.#run(resolve).finally(resolve);
    });
    return this.#tableRead;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Aborts when the feed is stopped. */
  protected get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** @param tableRead is called as soon as the table was read whole */
  protected abstract round(tableRead: () => void): Promise<void>;

  /** @param failures rounds that failed in a row */
  protected abstract failed(error: unknown, failures: number): void;

  async #run(tableRead: () => void): Promise<void> {
    let failures = 0;
    while (!this.signal.aborted) {
      this.deps.sink.expire(Date.now());
      try {
        await this.round(tableRead);
        failures = 0;
      } catch (error) {
        if (this.signal.aborted) break;
        this.failed(error, ++failures);
        this.deps.sink.readFailed();
      }
      await pause(
        systemClock,
        failures ? backoffDelayMs(systemClock, RETRY, failures) : this.deps.refreshIntervalMs,
        this.signal,
      );
    }
  }
}

export interface FeedLoopDeps {
  /** Between rounds. */
  readonly refreshIntervalMs: number;
  readonly sink: DirectorySink;
  readonly log: Logger;
}
