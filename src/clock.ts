/**
 * Time, timers and chance. Classes that the simulation runs (relay, log, presence, pusher,
 * and lease, doorbell and wakeup of the listener) take them from here alone, so that a seed repeats
 * a run exactly.
 */
export interface Clock {
  /** Epoch milliseconds. The clocks of other machines differ from it. */
  epochMs(): number;
  /** Milliseconds since an arbitrary moment. Never set back. */
  uptimeMs(): number;
  /** Calls `callback` once, after `ms` or a little later. */
  after(ms: number, callback: () => void): Timer;
  /** At least 0, less than 1. */
  random(): number;
}

export interface Timer {
  cancel(): void;
  /** Lets the process end while the timer waits. */
  unref(): Timer;
}

export const systemClock: Clock = {
  epochMs: () => Date.now(),
  uptimeMs: () => performance.now(),
  after: (ms, callback) => new SystemTimer(setTimeout(callback, ms)),
  random: () => Math.random(),
};

class SystemTimer implements Timer {
  readonly #timeout: NodeJS.Timeout;

  constructor(timeout: NodeJS.Timeout) {
    this.#timeout = timeout;
  }

  cancel(): void {
    clearTimeout(this.#timeout);
  }

  unref(): Timer {
    this.#timeout.unref();
    return this;
  }
}

/** Calls `callback` every `ms`, for the first time after `ms`. */
export function every(clock: Clock, ms: number, callback: () => void): Pick<Timer, 'cancel'> {
  let timer: Timer;
  const wait = () => {
    timer = clock.after(ms, () => {
      wait();
      callback();
    });
  };
  wait();
  return { cancel: () => timer.cancel() };
}

/** Resolves after `ms`, or as soon as the signal aborts. Never rejects. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = clock.after(ms, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
    const stop = () => {
      timer.cancel();
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** Resolves when the signal aborts. @param until stops waiting when it aborts */
export function aborted(signal: AbortSignal, until?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const options = { once: true, ...(until ? { signal: until } : {}) };
    signal.addEventListener('abort', () => resolve(), options);
  });
}
