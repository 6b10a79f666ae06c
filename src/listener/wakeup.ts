import type { Clock } from '../clock.ts';

/**
 * "Something changed", with room for one: a waiter needs to know that it was rung, not how often. A
 * ring while nobody waits is kept for the next wait.
 */
export class Wakeup {
  readonly #clock: Clock;
  #rung = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake();
  }

  clear(): void {
    this.#rung = false;
  }

  /** @returns whether it was rung; false when the time was over or the signal aborted */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#rung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          timer.cancel();
          signal.removeEventListener('abort', done);
          this.#wake = () => undefined;
          resolve();
        };
        const timer = this.#clock.after(ms, done);
        signal.addEventListener('abort', done);
        this.#wake = done;
      });
    }
    const rung = this.#rung;
    this.#rung = false;
    return rung;
  }
}
