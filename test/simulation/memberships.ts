import type { Snapshot } from '../../src/log/snapshot.ts';

/** The room that users are in by a table. */
export const ROOM_BY_TABLE = 'green';

/** A user joins the room by the table, or leaves it. */
export interface MembershipChange {
  readonly id: bigint;
  readonly xid: bigint;
  readonly userId: string;
  readonly joins: boolean;
  /** The snapshot as its transaction committed, when that was, and its place among the commits. */
  after: string;
  committedAt: number;
  commit: number;
}

/** Who is in the room by the table: changes that are committed, in the order of their commits. */
export class SimulatedMemberships {
  #changes: MembershipChange[] = [];

  committed(change: MembershipChange): void {
    this.#changes.push(change);
  }

  /** A crash undid these transactions. */
  undo(xids: ReadonlySet<bigint>): void {
    this.#changes = this.#changes.filter(({ xid }) => !xids.has(xid));
  }

  /** @param own changes of the transaction that asks */
  isIn(userId: string, own: readonly MembershipChange[]): boolean {
    return !![...this.#changes, ...own].findLast((change) => change.userId === userId)?.joins;
  }

  members(): Set<string> {
    const members = new Set<string>();
    for (const { userId, joins } of this.#changes)
      if (joins) members.add(userId);
      else members.delete(userId);
    return members;
  }

  /** The last time that the user left the room. */
  lastLeft(userId: string): MembershipChange | undefined {
    return this.#changes.findLast((change) => change.userId === userId && !change.joins);
  }

  /** Transactions between two snapshots. */
  commits(from: Snapshot, to: Snapshot): bigint[] {
    const xids = new Set(this.#changes.map(({ xid }) => xid));
    return [...xids].filter((xid) => to.sees(xid) && !from.sees(xid));
  }

  /** The users' stays, as src/log/memberships.ts reads them. */
  stays(): StayRow[] {
    const stays: StayRow[] = [];
    for (const { userId, joins, id, xid, after } of this.#changes) {
      const [changeId, changeXid] = [String(id), String(xid)];
      const stay = stays.findLast((each) => each.userId === userId);
      if (joins)
        stays.push({
          ...{ userId, room: ROOM_BY_TABLE, name: `1:${id}` },
          ...{ joined_id: changeId, joined_xid: changeXid, joined_after: after },
          ...{ left_id: null, left_xid: null, left_after: null },
        });
      else if (stay)
        Object.assign(stay, { left_id: changeId, left_xid: changeXid, left_after: after });
    }
    return stays;
  }
}

type StayRow = Readonly<
  Record<'userId' | 'room' | 'name' | 'joined_id' | 'joined_xid' | 'joined_after', string> &
    Record<'left_id' | 'left_xid' | 'left_after', string | null>
>;
