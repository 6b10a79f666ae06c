import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { pause, systemClock } from '../clock.ts';
import type { Service } from '../service.ts';

const RETRY: Backoff = { baseMs: 1000, capMs: 30_000 };

/** Null where all is right, else what is wrong and what to do. */
export type Check = () => Promise<string | null>;

/**
 * A relay's checks of its surroundings when it starts, before a row has to show: each
 * check is repeated until it passes, and until then the relay is not ready, with the reason.
 * Delivery does not wait for it.
 */
export class SelfCheck implements Service {
  readonly #checks: Readonly<Record<string, Check>>;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #problems = new Map<string, string>();
  #running: Promise<unknown> | undefined;

  constructor(checks: Readonly<Record<string, Check>>, log: Logger) {
    this.#checks = checks;
    this.#log = log;
    for (const name of Object.keys(checks))
      this.#problems.set(name, `the ${name} has not been checked yet`);
  }

  get problems(): readonly string[] {
    return [...this.#problems.values()];
  }

  /** Does not wait for the checks. */
  async start(): Promise<void> {
    this.#running ??= Promise.all(
      Object.entries(this.#checks).map(([name, check]) => this.#run(name, check)),
    );
  }

  /** A check that hangs ends by its own time-out; nobody waits for it. */
  async stop(): Promise<void> {
    this.#stop.abort();
  }

  async #run(name: string, check: Check): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 1; !signal.aborted; failures++) {
      const problem = await check();
      if (signal.aborted) return;
      if (problem === null) {
        if (failures > 1)
          this.#log.info(
            { event: 'check_passed', check: name },
            `the ${name} is as it should be now`,
          );
        this.#problems.delete(name);
        return;
      }
      if (problem !== this.#problems.get(name))
        this.#log.error({ event: 'check_failed', check: name }, problem);
      this.#problems.set(name, problem);
      await pause(systemClock, backoffDelayMs(systemClock, RETRY, failures), signal);
    }
  }
}
