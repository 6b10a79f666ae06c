import type { Clock } from '../clock.ts';

/** Posts that may start at once after a pause: a tenth of a second's worth. */
const BURST_SECONDS = 0.1;
/** Outcomes are judged together over this long. */
const JUDGE_INTERVAL_MS = 250;
/**
 * 429 on fewer connections means full buffers of those clients, and their lanes wait by themselves.
 */
const MANY_CONNECTIONS = 3;
/** Share of the current rate that is left after an interval in which many were throttled. */
const DECREASE = 0.7;
/**
 * Share of the limit that an interval without throttling adds: from a tenth to all in about 5 s.
 */
const INCREASE = 0.05;
/** The rate never falls below this share of the limit. */
const LEAST = 0.02;

/**
 * Paces posts by a token bucket. Its limit is Rowcast's own, because API Gateway's quota (10,000 a
 * second for an account and Region, 2,500 in some) is shared with the account's other APIs. When
 * many connections are throttled the rate falls by a factor, and rises again by steps.
 */
export class PostRate {
  readonly #limit: number;
  readonly #clock: Clock;
  readonly #changed: (postsPerSecond: number) => void;
  #rate: number;
  #tokens: number;
  #filledAt: number;
  #judgedAt: number;
  readonly #throttled = new Set<string>();

  /**
   * @param limit posts a second at most
   * @param changed is called when the rate leaves the limit, falls further, and is back at the
   * limit
   */
  constructor(
    limit: number,
    clock: Clock,
    changed: (postsPerSecond: number) => void = () => undefined,
  ) {
    this.#limit = limit;
    this.#clock = clock;
    this.#changed = changed;
    this.#rate = limit;
    this.#tokens = limit * BURST_SECONDS;
    this.#filledAt = clock.uptimeMs();
    this.#judgedAt = this.#filledAt;
  }

  /** Posts a second that are allowed now. */
  get perSecond(): number {
    return this.#rate;
  }

  /** How long until the next post may start; 0 for now. */
  delayMs(): number {
    this.#fill();
    return this.#tokens >= 1 ? 0 : Math.max(1, ((1 - this.#tokens) / this.#rate) * 1000);
  }

  /** A post starts. */
  take(): void {
    this.#tokens--;
  }

  /** A post to this connection was answered with 429. */
  wasThrottled(connectionId: string): void {
    this.#throttled.add(connectionId);
    if (this.#throttled.size === MANY_CONNECTIONS) {
      // At once and not at the end of the interval: every post until then would be refused too.
      this.#rate = Math.max(this.#limit * LEAST, this.#rate * DECREASE);
      this.#tokens = 0;
      this.#changed(this.#rate);
    }
  }

  #fill(): void {
    const now = this.#clock.uptimeMs();
    this.#tokens = Math.min(
      this.#rate * BURST_SECONDS + 1,
      this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate,
    );
    this.#filledAt = now;
    if (now - this.#judgedAt < JUDGE_INTERVAL_MS) return;
    if (this.#throttled.size < MANY_CONNECTIONS && this.#rate < this.#limit) {
      const intervals = Math.floor((now - this.#judgedAt) / JUDGE_INTERVAL_MS);
      this.#rate = Math.min(this.#limit, this.#rate + this.#limit * INCREASE * intervals);
      if (this.#rate === this.#limit) this.#changed(this.#rate);
    }
    this.#throttled.clear();
    this.#judgedAt = now;
  }
}
