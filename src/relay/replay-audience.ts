import type { Connection } from '../connections/connection.ts';
import { normalTerm, termsOf } from '../protocol/audience.ts';
import { AudienceIndex } from '../pusher/audience-index.ts';
import type { AddressedRow, Membership } from './membership.ts';

/** More audience terms are not worth comparing with those of each row. */
const MAX_TERMS = 300;

/** Whom of a replay's members an event is for, whenever it was committed. */
export class ReplayAudience<Member extends ReplayMember> {
  readonly #membership: Membership;
  readonly #index = new AudienceIndex<Member>();
  readonly #members = new Set<Member>();
  /** The terms of the members' users, of those that have left too. */
  readonly #users = new Set<string>();
  #terms: readonly string[] | null = null;
  /** As of which version of the memberships the terms are. */
  #version = -1;

  constructor(membership: Membership) {
    this.#membership = membership;
  }

  add(member: Member): void {
    this.#members.add(member);
    this.#index.add(member.connection, member);
    this.#users.add(normalTerm(`user:${member.connection.userId}`));
  }

  remove(member: Member): void {
    this.#members.delete(member);
    this.#index.remove(member.connection, member);
  }

  /**
   * A client that comes back gets of a room by a table only what it may see now; a connection that
   * fell behind gets what it had coming when it left as well.
   */
  reach(event: AddressedRow): Iterable<Member> {
    const then = this.#membership.formerAudienceOf(event, this.#users, false);
    const reached = this.#index.reach(then);
    if (then === event.audience) return reached;
    const now = this.#membership.formerAudienceOf(event, this.#users, true);
    const still = new Set(this.#index.reach(now));
    return [...reached].filter((member) => !member.isReturning || still.has(member));
  }

  /** Terms to choose events by; null where they are too many. */
  terms(): readonly string[] | null {
    if (this.#version !== this.#membership.version) {
      this.#version = this.#membership.version;
      this.#terms = this.#termsOfAll();
    }
    return this.#terms;
  }

  /** The log is read up to every change that is known of the members' rooms. */
  isRead(): boolean {
    return this.#membership.isReadFor(this.#users);
  }

  #termsOfAll(): readonly string[] | null {
    const terms = new Set<string>();
    for (const { connection } of this.#members) {
      for (const term of termsOf(connection)) terms.add(term);
      for (const term of this.#membership.roomsOf(connection.userId)) terms.add(term);
      if (terms.size > MAX_TERMS) return null;
    }
    return [...terms];
  }
}

interface ReplayMember {
  readonly connection: Connection;
  /** It has had nothing on this connection. */
  readonly isReturning: boolean;
}
