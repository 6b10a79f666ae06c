import type { Session } from './session.ts';
import { Snapshot } from './snapshot.ts';

/**
 * Reads the log by snapshots. A window is everything that is visible in its end snapshot and was not in
 * its start snapshot:
 *
 *     xid >= pg_snapshot_xmax(start)          began after the start
 *     or xid in pg_snapshot_xip(start)        was in flight at the start
 *     and visible in the end
 *
 * No gap: a transaction that took its id early and committed late is in the window in which it became
 * visible. No delay: a transaction that stays open holds back nothing but itself. The index on xid makes a
 * read cost the new rows only.
 *
 * When more waits than fits a page, the window's end is fixed and the window is read page by page in the
 * order of id, however many transactions it holds or however large one is. (Cutting a backlog at an xid
 * boundary instead would break the order of one row's changes: a transaction that began early and changed the row
 * late has the smaller xid and the larger id.) Conflicting writes of one row have ids in their commit order, and
 * of two windows the first was visible first; so a client sees one row's changes in the order they were logged
 * (docs/sql.md, "Events").
 */
export class EventLog {
  readonly #session: Session;
  readonly #pageRows: number;
  readonly #maxDataBytes: number;

  constructor(deps: { session: Session; pageRows: number; maxDataBytes: number }) {
    this.#session = deps.session;
    this.#pageRows = deps.pageRows;
    this.#maxDataBytes = deps.maxDataBytes;
  }

  /** What comes next after `position`: everything new, or one page of a backlog. */
  async read(position: Position): Promise<Page> {
    if (position.backlog) return this.#readBacklog(position.snapshot, position.backlog);
    const { snapshot } = position;
    const rows = await this.#session.query<FreshRow>(
      FRESH,
      [xids(snapshot), String(snapshot.xmax), this.#pageRows + 1, this.#maxDataBytes],
      'read_fresh',
    );
    const until = Snapshot.parse((rows[0] as FreshRow).now);
    if (rows.length > this.#pageRows) return this.#openBacklog(snapshot, until);
    const events = rows.filter((row) => row.id !== null);
    return { events, next: { snapshot: until }, more: false };
  }

  /** The window between two snapshots: what a replay reads. */
  async between(start: Snapshot, until: Snapshot): Promise<Page> {
    return this.#openBacklog(start, until);
  }

  async #openBacklog(start: Snapshot, until: Snapshot): Promise<Page> {
    let first: bigint | undefined;
    let last = 0n;
    let from: Bounds | undefined;
    let late = xids(start);
    do {
      const values = [late, from?.xid ?? String(start.xmax), from?.id ?? '0', String(until.xmax), COUNTED_ROWS];
      [from] = await this.#session.query<Bounds>(BOUNDS, values, 'read_bounds');
      late = [];
      if (from?.first && from.last) {
        if (first === undefined || BigInt(from.first) < first) first = BigInt(from.first);
        if (BigInt(from.last) > last) last = BigInt(from.last);
      }
    } while (from?.counted === COUNTED_ROWS);
    if (first === undefined) return { events: [], next: { snapshot: until }, more: false };
    return this.#readBacklog(start, { until, afterId: String(first - 1n), throughId: String(last) });
  }

  async #readBacklog(start: Snapshot, backlog: Backlog): Promise<Page> {
    const { until, afterId, throughId } = backlog;
    const walked = BigInt(afterId) + WALK_IDS;
    const walkedId = walked < BigInt(throughId) ? String(walked) : throughId;
    const events = await this.#session.query<LoggedEvent>(
      PAGE,
      [afterId, walkedId, start.text, until.text, this.#pageRows, this.#maxDataBytes],
      'read_page',
    );
    const full = events.length === this.#pageRows;
    const readId = full ? (events.at(-1) as LoggedEvent).id : walkedId;
    if (readId === throughId) return { events, next: { snapshot: until }, more: true };
    return { events, next: { snapshot: start, backlog: { until, afterId: readId, throughId } }, more: true };
  }
}

/**
 * Ids that one page walks at most. A transaction that appended hours ago and commits now makes its window span
 * those hours, of which it holds almost nothing.
 */
const WALK_IDS = 200_000n;

/** Entries of the index that one statement looks at for the bounds of a window: it takes no longer than a page. */
const COUNTED_ROWS = 50_000;

function xids(snapshot: Snapshot): string[] {
  return snapshot.xip.map(String);
}

/** How far the log was read: all that `snapshot` sees, and of an unfinished window what its backlog says. */
export interface Position {
  readonly snapshot: Snapshot;
  readonly backlog?: Backlog;
}

/** Everything visible there has been read, or is being. */
export function endOf(position: Position): Snapshot {
  return position.backlog?.until ?? position.snapshot;
}

/** A window that is read page by page: rows up to `afterId` were read, `throughId` is its last. */
export interface Backlog {
  readonly until: Snapshot;
  readonly afterId: string;
  readonly throughId: string;
}

export interface Page {
  /** In the order of delivery. */
  readonly events: readonly LoggedEvent[];
  readonly next: Position;
  /** There may be more at once: read on without waiting. */
  readonly more: boolean;
}

/** A row of the log as text. Nothing of it is parsed on its way to the client. */
export interface LoggedEvent {
  readonly id: string;
  /** The writer's transaction. */
  readonly xid: string;
  readonly type: string;
  readonly audience: readonly string[];
  /** Null without data, and where data and old together are longer than `maxDataBytes`. */
  readonly data: string | null;
  readonly old: string | null;
  /** Data or old was left out for its size, here or already by the writer's trigger; `key` names the row. */
  readonly oversize: boolean;
  readonly key: string | null;
  /** Epoch milliseconds in decimal. */
  readonly timestamp: string;
}

interface FreshRow extends LoggedEvent {
  readonly now: string;
}

/**
 * Rows of the log, aliased `e`, as text. The lateral select (`offset 0` keeps it apart) prints each JSON once; named in several
 * places, it would be printed in each.
 * @param from a relation with the log's columns
 * @param limit the placeholder of `maxDataBytes`
 */
function rowsOf(from: string, limit: string): string {
  return `select e.id::text as id, e.xid::text as xid, e.type, e.audience,
    case when t.bytes <= ${limit} then t.data end as data, case when t.bytes <= ${limit} then t.old end as old,
    t.bytes > ${limit} or t.data is null and e.key is not null as oversize, e.key::text as key,
    (extract(epoch from e.occurred_at) * 1000)::bigint::text as timestamp
    from ${from} e cross join lateral (
      select p.data, p.old, coalesce(octet_length(p.data), 0) + coalesce(octet_length(p.old), 0) as bytes
      from (select e.data::text as data, e.old::text as old offset 0) p offset 0) t`;
}

/** $1 xip and $2 xmax of the start, $3 rows at most, $4 maxDataBytes. One statement, so one snapshot for both its rows and its end. */
const FRESH = `
  with now as materialized (select pg_current_snapshot() as snapshot),
  fresh as materialized (
    select e.* from unnest($1::xid8[]) as late (xid) cross join lateral (select * from rowcast.event where event.xid = late.xid limit $3) e
    union all
    (select * from rowcast.event where xid >= $2::xid8 order by xid limit $3)
  )
  select now.snapshot::text as now, e.* from now
  left join (${rowsOf('(select * from fresh limit $3)', '$4::int')}) e on true
  order by e.id::bigint`;

/**
 * The ids between which a window lies, from the index alone. $1 xip of the start; $2 xid and $3 id after which to look, at first the
 * start's xmax and 0; $4 xmax of the end, $5 rows at most. Rows that are not visible in the end are left out when the window is read.
 */
const BOUNDS = `
  with late as (
    select e.id from unnest($1::xid8[]) as late (xid) cross join lateral (
      (select id from rowcast.event where event.xid = late.xid order by id limit 1) union all
      (select id from rowcast.event where event.xid = late.xid order by id desc limit 1)) e
  ),
  fresh as materialized (
    select xid, id from rowcast.event where (xid, id) > ($2::xid8, $3::bigint) and xid < $4::xid8 order by xid, id limit $5
  ),
  ids as (select id from late union all select id from fresh)
  select (select min(id) from ids)::text as first, (select max(id) from ids)::text as last, (select count(*)::int from fresh) as counted,
    reached.xid::text as xid, reached.id::text as id
  from (values (1)) one (row) left join (select xid, id from fresh order by xid desc, id desc limit 1) reached on true`;

interface Bounds {
  readonly first: string | null;
  readonly last: string | null;
  readonly counted: number;
  /** The last of those counted. */
  readonly xid: string | null;
  readonly id: string | null;
}

/** By id on purpose: the conditions on xid are function calls, which no index serves, so the primary key is walked. */
const PAGE = `
  ${rowsOf('rowcast.event', '$6::int')}
  where e.id > $1::bigint and e.id <= $2::bigint
    and pg_visible_in_snapshot(e.xid, $4::pg_snapshot) and not pg_visible_in_snapshot(e.xid, $3::pg_snapshot)
  order by e.id limit $5`;
