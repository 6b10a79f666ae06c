import { type Clock, pause } from '../clock.ts';

/** A page on its way to some members of a group. */
export class PageSending<Member> {
  /** Members that have not got all of it yet. */
  readonly unsent = new Set<Member>();
  readonly #over = new AbortController();

  /** @param sent each promise resolves when its member has got the page, or is over */
  constructor(sent: ReadonlyMap<Member, Promise<void>>) {
    for (const [member, settled] of sent) {
      this.unsent.add(member);
      void settled.then(() => this.#settled(member));
    }
    if (this.unsent.size === 0) this.#over.abort();
  }

  /** Resolves once everybody has got it, or after `ms`. */
  async settledWithin(clock: Clock, ms: number): Promise<void> {
    await pause(clock, ms, this.#over.signal);
  }

  #settled(member: Member): void {
    this.unsent.delete(member);
    if (this.unsent.size === 0) this.#over.abort();
  }
}
