import { pause } from '../backoff.ts';

/** A page on its way to some members of a group: who has not got all of it yet. */
export class PageSending<Member> {
  readonly waiting = new Set<Member>();
  readonly #over = new AbortController();

  /** @param sent when each has got it, or is over */
  constructor(sent: ReadonlyMap<Member, Promise<void>>) {
    for (const [member, settled] of sent) {
      this.waiting.add(member);
      void settled.then(() => this.#settled(member));
    }
    if (this.waiting.size === 0) this.#over.abort();
  }

  /** Resolves once everybody has got it, or after `ms`. */
  over(ms: number): Promise<void> {
    return pause(ms, this.#over.signal);
  }

  #settled(member: Member): void {
    this.waiting.delete(member);
    if (this.waiting.size === 0) this.#over.abort();
  }
}
