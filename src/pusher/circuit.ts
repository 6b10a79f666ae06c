import { type Backoff, backoffDelayMs } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import type { PostOutcome } from './gateway.ts';

/** Posts that fail in a row, over all connections, before the gateway counts as down. */
const FAILURES_TO_OPEN = 5;
/** Between probes of a gateway that is down: 0.1–0.2 s at first, then doubling to 1–2 s. */
const PROBE: Backoff = { baseMs: 200, capMs: 2000 };

/**
 * Tells an outage of the whole gateway from trouble with one connection. While the gateway is down
 * one post at a time probes it. The first answer of any kind but failure lets everything go on.
 */
export class Circuit {
  readonly #clock: Clock;
  #failures = 0;
  #probes = 0;
  #probeAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get down(): boolean {
    return this.#failures >= FAILURES_TO_OPEN;
  }

  /** How long until the next probe may start; 0 for now. */
  probeDelayMs(): number {
    return Math.max(0, this.#probeAt - this.#clock.uptimeMs());
  }

  /** @returns whether the gateway went down or came up by this outcome */
  record(outcome: PostOutcome): 'down' | 'up' | null {
    const wasDown = this.down;
    if (outcome.kind !== 'failed') {
      this.#failures = 0;
      this.#probes = 0;
      return wasDown ? 'up' : null;
    }
    this.#failures++;
    if (!this.down) return null;
    this.#probeAt = this.#clock.uptimeMs() + backoffDelayMs(this.#clock, PROBE, ++this.#probes);
    return wasDown ? null : 'down';
  }
}
