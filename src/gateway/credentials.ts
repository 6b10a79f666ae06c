import type { Identity } from './post-signer.ts';

/**
 * How often the provider is asked: it keeps what it has, and fetches new ones in the background 5
 * minutes ahead of expiry.
 */
const ASK_INTERVAL_MS = 1000;

/**
 * The credentials of the SDK's provider chain, at hand without waiting: a post must not cost a
 * promise of the chain's. While they cannot be renewed, those that have not expired go on being
 * used.
 */
export class Credentials {
  readonly #provide: Provider;
  #current: Expiring | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(provide: Provider) {
    this.#provide = provide;
  }

  /** @throws what the provider throws, where there are none that are valid */
  get(nowMs: number): Expiring | Promise<Expiring> {
    const valid =
      this.#current && (this.#current.expiration?.getTime() ?? Number.POSITIVE_INFINITY) > nowMs;
    if (!valid) return this.#ask(nowMs);
    if (nowMs - this.#askedAtMs >= ASK_INTERVAL_MS) this.#ask(nowMs).catch(() => undefined);
    return this.#current as Expiring;
  }

  /** They were refused before their time. */
  renew(nowMs: number): void {
    if (nowMs - this.#renewedAtMs < ASK_INTERVAL_MS) return;
    this.#renewedAtMs = nowMs;
    this.#ask(nowMs, { forceRefresh: true }).catch(() => undefined);
  }

  async #ask(nowMs: number, options?: { forceRefresh: boolean }): Promise<Expiring> {
    this.#askedAtMs = nowMs;
    this.#current = await this.#provide(options);
    return this.#current;
  }
}

export type Provider = (options?: { forceRefresh?: boolean }) => Promise<Expiring>;

export interface Expiring extends Identity {
  readonly expiration?: Date | undefined;
}
