/** setTimeout's longest delay; a longer one fires at once. */
const MAX_MS = 2 ** 31 - 1;

/** At most one thing to do later; once stopped, none any more. */
export class Timer {
  #timeout: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  /** In place of what was to be done before. */
  set(ms: number, act: () => void): void {
    this.clear();
    if (!this.#stopped) this.#timeout = setTimeout(act, Math.min(ms, MAX_MS));
  }

  clear(): void {
    clearTimeout(this.#timeout);
  }

  stop(): void {
    this.clear();
    this.#stopped = true;
  }
}
