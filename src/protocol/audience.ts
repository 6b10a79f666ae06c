/**
 * Audience terms: `all`, `user:ID`, `room:NAME`, `role:NAME`, `connection:ID`. The terms of a
 * connection are those by which it can be reached; an event reaches it when one of the event's
 * terms is among them, and none of those that it leaves out: `!user:ID` and so on.
 */

export interface Addressee {
  readonly connectionId: string;
  readonly userId: string;
  readonly rooms?: readonly string[];
  readonly roles?: readonly string[];
}

/** Every term that reaches this connection, in NFC. */
export function termsOf(addressee: Addressee): string[] {
  return [
    'all',
    `connection:${addressee.connectionId}`,
    `user:${addressee.userId}`,
    ...(addressee.rooms ?? []).map((room) => `room:${room}`),
    ...(addressee.roles ?? []).map((role) => `role:${role}`),
  ].map(normalTerm);
}

/** The term that an audience leaves out by this one; undefined for a term that reaches. */
export function leftOutBy(term: string): string | undefined {
  return term.startsWith('!') ? term.slice(1) : undefined;
}

/** One text for one name: é is one character, or an e and an accent, and looks the same. */
export function normalTerm(term: string): string {
  return term.normalize('NFC');
}
