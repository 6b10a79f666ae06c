/**
 * "Something changed", with room for one: whoever waits needs to know that it was rung, not how often. A
 * ring while nobody waits is kept for the next wait.
 */
export class Wakeup {
  #rung = false;
  #wake: () => void = () => undefined;

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
          clearTimeout(timer);
          signal.removeEventListener('abort', done);
          this.#wake = () => undefined;
          resolve();
        };
        const timer = setTimeout(done, ms);
        signal.addEventListener('abort', done);
        this.#wake = done;
      });
    }
    const rung = this.#rung;
    this.#rung = false;
    return rung;
  }
}
