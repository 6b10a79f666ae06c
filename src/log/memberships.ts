import { isForeignText, withoutForeignText } from '../postgres/foreign-text.ts';
import type { SqlSession } from '../postgres/session.ts';
import type { LoggedEvent } from './logged-event.ts';
import { Snapshot } from './snapshot.ts';

/** Rooms of a user by tables; later ones are left out (docs/sql.md). */
export const MAX_ROOMS_BY_TABLE = 5000;

/** A change of who is in which room (rowcast.rooms_from()). */
export interface MembershipChange {
  /** Its place among the events of its own transaction. */
  readonly id: bigint;
  readonly xid: bigint;
  /** Sees what was committed before it; null where the log has nothing of that any more. */
  readonly after: Snapshot | null;
}

/** A user's time in a room, by one row or several of one table. */
export interface Stay {
  readonly userId: string;
  readonly room: string;
  /** Told apart by it from the others of this user in this room. */
  readonly name: string;
  readonly joined: MembershipChange;
  /** Null for a user who is in the room. */
  readonly left: MembershipChange | null;
}

/** An event as far as a stay is concerned. */
export interface PlacedEvent {
  readonly id: string;
  readonly xid: string;
}

/** The event was committed before the change, or earlier in the same transaction. */
function isBefore({ id, xid }: PlacedEvent, change: MembershipChange): boolean {
  if (BigInt(xid) === change.xid) return BigInt(id) < change.id;
  return change.after?.sees(BigInt(xid)) ?? false;
}

/** The event was committed within the stay. */
export function covers({ joined, left }: Stay, event: PlacedEvent): boolean {
  return !isBefore(event, joined) && (left === null || isBefore(event, left));
}

/** The user is in the room. */
export function isOpen({ left }: Stay): boolean {
  return left === null;
}

/** The event says that a transaction has changed memberships, and is a message to nobody. */
export function isMembershipChange({ type }: LoggedEvent): boolean {
  return type === 'MEMBERS';
}

/** Stays of the users, those that are over as far back as the log reaches. */
export async function readStays(
  session: Pick<SqlSession, 'query'>,
  userIds: readonly string[],
): Promise<Stay[]> {
  const rows = await withoutForeignText(userIds, (some) =>
    session.query<StayRow>(STAYS_OF_USERS, [some], 'read_stays'),
  );
  return staysOf(rows);
}

/**
 * Stays that began or ended between two snapshots, page by page.
 * @param userIds of these users alone; null where they are too many to say
 */
export async function* readChangedStays(
  session: Pick<SqlSession, 'query'>,
  { start, until }: { readonly start: Snapshot; readonly until: Snapshot },
  userIds: readonly string[] | null,
): AsyncGenerator<Stay[]> {
  const values = [start.text, until.text];
  const commits = await session.query<{ xid: string }>(COMMITS, values, 'read_membership_commits');
  if (commits.length === 0) return;
  const xids = commits.map(({ xid }) => xid);
  const read = (last: StayRow | undefined, users: readonly string[] | null) => {
    const after = [last?.userId ?? '', last?.room ?? '', last?.name ?? ''];
    const page = [xids, users, ...after, PAGE_ROWS];
    return session.query<StayRow>(CHANGED_STAYS, page, 'read_changed_stays');
  };
  let rows: StayRow[] = [];
  do {
    const last = rows.at(-1);
    rows = await read(last, userIds).catch((error: unknown) => {
      if (isForeignText(error)) return read(last, null);
      throw error;
    });
    yield staysOf(rows);
  } while (rows.length === PAGE_ROWS);
}

/** Some 30 ms of a database's time. */
const PAGE_ROWS = 10_000;

interface StayRow {
  readonly userId: string;
  readonly room: string;
  readonly name: string;
  readonly joined_id: string;
  readonly joined_xid: string;
  readonly joined_after: string | null;
  readonly left_id: string | null;
  readonly left_xid: string | null;
  readonly left_after: string | null;
}

function staysOf(rows: readonly StayRow[]): Stay[] {
  // Changes of one transaction share one snapshot, which may be long.
  const snapshots = new Map<string, Snapshot>();
  const snapshotOf = (text: string | null) => {
    if (text === null) return null;
    const known = snapshots.get(text) ?? Snapshot.parse(text);
    snapshots.set(text, known);
    return known;
  };
  const changeOf = (id: string, xid: string, after: string | null): MembershipChange => ({
    id: BigInt(id),
    xid: BigInt(xid),
    after: snapshotOf(after),
  });
  return rows.map((row) => ({
    userId: row.userId,
    room: row.room,
    name: row.name,
    joined: changeOf(row.joined_id, row.joined_xid, row.joined_after),
    left:
      row.left_id === null || row.left_xid === null
        ? null
        : changeOf(row.left_id, row.left_xid, row.left_after),
  }));
}

/** A table that was dropped puts nobody in a room. */
const STAYS = `
  select m.user_id as "userId", m.room, m.source || ':' || m.joined_id as name,
    m.joined_id::text, m.joined_xid::text, j.snapshot::text as joined_after,
    m.left_id::text, m.left_xid::text, l.snapshot::text as left_after
  from rowcast.membership m
  left join rowcast.membership_commit j on j.xid = m.joined_xid left join rowcast.membership_commit l on l.xid = m.left_xid
  where (m.left_id is not null or exists (
    select from rowcast.room_source s join pg_class c on c.oid = s.target where s.source = m.source))`;

/** $1 users. Where a user has too many, the first that are not over count. */
const STAYS_OF_USERS = `${STAYS} and m.user_id = any ($1) order by m.left_id is not null, m.joined_id`;

/** $1 start and $2 end. */
const COMMITS = `
  select xid::text from rowcast.membership_commit
  where xid >= pg_snapshot_xmin($1::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::pg_snapshot) and pg_visible_in_snapshot(xid, $2::pg_snapshot)`;

/** $1 transactions; $2 users, or null; $3, $4 and $5 the last row before; $6 rows. */
const CHANGED_STAYS = `
  select * from (${STAYS} and (m.joined_xid = any ($1::xid8[]) or m.left_xid = any ($1::xid8[])) and ($2::text[] is null or m.user_id = any ($2))) s
  where ("userId", room, name) > ($3, $4, $5) order by "userId", room, name limit $6`;
