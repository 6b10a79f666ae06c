import { type Addressee, termsOf } from '../protocol/audience.ts';

/**
 * Who is reached by a term. Members are found by what an event names, so that its cost follows its receivers
 * and not the number of connections.
 */
export class AudienceIndex<Member extends object> {
  readonly #byTerm = new Map<string, Set<Member>>();

  add(addressee: Addressee, member: Member): void {
    for (const term of termsOf(addressee)) {
      const members = this.#byTerm.get(term);
      if (members) members.add(member);
      else this.#byTerm.set(term, new Set([member]));
    }
  }

  remove(addressee: Addressee, member: Member): void {
    for (const term of termsOf(addressee)) {
      const members = this.#byTerm.get(term);
      if (members?.delete(member) && members.size === 0) this.#byTerm.delete(term);
    }
  }

  /** Each member once, however many of the terms reach it. */
  reach(audience: readonly string[]): Iterable<Member> {
    if (audience.length === 1) return this.#byTerm.get(audience[0] as string) ?? NOBODY;
    if (audience.includes('all')) return this.#byTerm.get('all') ?? NOBODY;
    const union = new Set<Member>();
    for (const term of audience) {
      for (const member of this.#byTerm.get(term) ?? NOBODY) union.add(member);
    }
    return union;
  }
}

const NOBODY: Iterable<never> = [];
