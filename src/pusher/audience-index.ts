import { type Addressee, leftOutBy, normalTerm, termsOf } from '../protocol/audience.ts';

/**
 * Who is reached by a term. Members are found by what an event names, so that its cost follows its
 * receivers and not the number of connections.
 */
export class AudienceIndex<Member extends object> {
  /**
   * Most terms reach one member, and a set of one costs more than all else of a connection: it is
   * left out.
   */
  readonly #byTerm = new Map<string, Member | Set<Member>>();

  add(addressee: Addressee, member: Member): void {
    for (const term of termsOf(addressee)) {
      const members = this.#byTerm.get(term);
      if (members === undefined) this.#byTerm.set(term, member);
      else if (members instanceof Set) members.add(member);
      else if (members !== member) this.#byTerm.set(term, new Set([members, member]));
    }
  }

  remove(addressee: Addressee, member: Member): void {
    for (const term of termsOf(addressee)) {
      const members = this.#byTerm.get(term);
      if (members === member) this.#byTerm.delete(term);
      else if (members instanceof Set && members.delete(member) && members.size === 0)
        this.#byTerm.delete(term);
    }
  }

  /** Each member once, however many of the terms reach it, and none that one leaves out. */
  reach(audience: readonly string[]): Iterable<Member> {
    if (audience.length === 1) return this.#members(audience[0] as string);
    const leftOut = audience.map(leftOutBy).filter((term) => term !== undefined);
    const all = audience.includes('all');
    if (all && leftOut.length === 0) return this.#members('all');
    const union = new Set<Member>();
    for (const term of all ? ['all'] : audience) {
      for (const member of this.#members(term)) union.add(member);
    }
    for (const term of leftOut) {
      for (const member of this.#members(term)) union.delete(member);
    }
    return union;
  }

  #members(term: string): Iterable<Member> {
    // Few terms are not in NFC, and those that are need not be looked at for it.
    const members = this.#byTerm.get(term) ?? this.#byTerm.get(normalTerm(term));
    if (members === undefined) return NOBODY;
    return members instanceof Set ? members : [members];
  }
}

const NOBODY: Iterable<never> = [];
