/**
 * Audience terms: `all`, `user:ID`, `room:NAME`, `role:NAME`, `connection:ID`. The terms of a
 * connection are those by which it can be reached; an event reaches it when one of the event's
 * terms is among them.
 */

export interface Addressee {
  readonly connectionId: string;
  readonly userId: string;
  readonly rooms?: readonly string[];
  readonly roles?: readonly string[];
}

/** Every term that reaches this connection. */
export function termsOf(addressee: Addressee): string[] {
  return [
    'all',
    `connection:${addressee.connectionId}`,
    `user:${addressee.userId}`,
    ...(addressee.rooms ?? []).map((room) => `room:${room}`),
    ...(addressee.roles ?? []).map((role) => `role:${role}`),
  ];
}
