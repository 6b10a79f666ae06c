/**
 * Who listens to one kind of event. One that throws keeps no other from hearing it; its error goes
 * where uncaught ones go.
 */
export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<(...args: Args) => void>();

  /** @returns stops it */
  add(listener: (...args: Args) => void): () => void {
    // The same function added twice is called twice, and each is stopped by itself.
    const own = (...args: Args) => listener(...args);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  call(...args: Args): void {
    for (const listener of [...this.#listeners]) {
      // Another may have stopped it meanwhile.
      if (!this.#listeners.has(listener)) continue;
      try {
        listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
