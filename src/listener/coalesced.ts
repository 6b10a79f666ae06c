import { pause, systemClock } from '../clock.ts';

/**
 * Work that may be asked for more often than it should be done: one run at a time and one more for
 * all who asked meanwhile, at most one in `intervalMs`. The first comes at once.
 */
export class Coalesced {
  readonly #work: () => Promise<void>;
  readonly #intervalMs: number;
  readonly #signal: AbortSignal;
  #running = false;
  #again = false;

  /** @param work never rejects */
  constructor(work: () => Promise<void>, options: { intervalMs: number; signal: AbortSignal }) {
    this.#work = work;
    this.#intervalMs = options.intervalMs;
    this.#signal = options.signal;
  }

  /** Does not wait for the run. */
  request(): void {
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#again && !this.#signal.aborted) {
      this.#again = false;
      await this.#work();
      await pause(systemClock, this.#intervalMs, this.#signal);
    }
    this.#running = false;
  }
}
