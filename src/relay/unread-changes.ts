import type { MembershipChange } from '../log/memberships.ts';
import type { Snapshot } from '../log/snapshot.ts';

/**
 * Changes of memberships that are known and that the log is not read up to, by the term of their
 * room: until it is, nobody can say of the room who is in it, but only who was as of an event.
 */
export class UnreadChanges {
  readonly #changes = new Map<string, MembershipChange[]>();
  readonly #readUpTo: () => Snapshot;

  /** @param readUpTo everything that it sees has been handed to delivery */
  constructor(readUpTo: () => Snapshot) {
    this.#readUpTo = readUpTo;
  }

  add(room: string, change: MembershipChange): void {
    if (this.#readUpTo().sees(change.xid)) return;
    const changes = this.#changes.get(room) ?? [];
    if (!changes.some(({ id }) => id === change.id)) changes.push(change);
    this.#changes.set(room, changes);
  }

  has(room: string): boolean {
    return this.#changes.has(room);
  }

  /** The log is read up to all that is known of these rooms. */
  isRead(rooms: Iterable<string>): boolean {
    if (this.#changes.size === 0) return true;
    const readUpTo = this.#readUpTo();
    for (const room of rooms)
      if (this.#changes.get(room)?.some(({ xid }) => !readUpTo.sees(xid))) return false;
    return true;
  }

  /** @returns rooms of which everything is read now */
  pass(readUpTo: Snapshot): string[] {
    const read: string[] = [];
    for (const [room, changes] of this.#changes) {
      const left = changes.filter(({ xid }) => !readUpTo.sees(xid));
      if (left.length > 0) this.#changes.set(room, left);
      else {
        this.#changes.delete(room);
        read.push(room);
      }
    }
    return read;
  }
}
