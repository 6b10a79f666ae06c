import { isDataError, type RowName, salvage } from './salvage.ts';
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
 *
 * A read is bounded in bytes of all that it returns, and one bad row stops nothing: where a page cannot be read because of
 * what is in it, smaller pages are, down to the row, which is read by itself (salvage.ts).
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
    const values = [xids(snapshot), String(snapshot.xmax), this.#pageRows + 1, this.#maxDataBytes, PAGE_BYTES];
    const rows = await this.#session.query<FreshRow>(FRESH, values, 'read_fresh').catch(async (error: unknown) => {
      if (!isDataError(error)) throw error;
      return this.#session.query<FreshRow>(NOW);
    });
    const { now, found } = rows[0] as FreshRow;
    const until = Snapshot.parse(now);
    if (found > rows.length || rows.length > this.#pageRows) return this.#openBacklog(snapshot, until);
    return { events: rows.filter((row) => row.id !== null), next: { snapshot: until }, more: false };
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
    let walk = WALK_IDS;
    for (let rows = this.#pageRows; ; rows = Math.ceil(rows / SMALLER), walk /= BigInt(SMALLER)) {
      try {
        return await this.#readPage(start, backlog, rows, walk);
      } catch (error) {
        if (!isDataError(error)) throw error;
        if (rows === 1) return this.#readBadRow(start, backlog, walk);
      }
    }
  }

  async #readPage(start: Snapshot, backlog: Backlog, pageRows: number, walk: bigint): Promise<Page> {
    const { until, afterId } = backlog;
    const walkedId = walkTo(backlog, walk);
    const rows = await this.#session.query<PageRow>(
      PAGE,
      [afterId, walkedId, start.text, until.text, pageRows, this.#maxDataBytes, PAGE_BYTES],
      'read_page',
    );
    const full = rows.length === pageRows || (rows[0]?.found ?? 0) > rows.length;
    return pageUpTo(start, backlog, rows, full ? (rows.at(-1) as LoggedEvent).id : walkedId);
  }

  async #readBadRow(start: Snapshot, backlog: Backlog, walk: bigint): Promise<Page> {
    const walkedId = walkTo(backlog, walk);
    const values = [backlog.afterId, walkedId, start.text, backlog.until.text];
    const [row] = await this.#session.query<RowName>(NEXT, values, 'read_next');
    if (!row) return pageUpTo(start, backlog, [], walkedId);
    return pageUpTo(start, backlog, [await salvage(this.#session, row, this.#maxDataBytes)], row.id);
  }
}

/** The id up to which a page looks. */
function walkTo({ afterId, throughId }: Backlog, walk: bigint): string {
  const walked = BigInt(afterId) + walk;
  return walked < BigInt(throughId) ? String(walked) : throughId;
}

/** @param readId of the window, everything up to there has been read now */
function pageUpTo(start: Snapshot, backlog: Backlog, events: readonly LoggedEvent[], readId: string): Page {
  const { until, throughId } = backlog;
  if (readId === throughId) return { events, next: { snapshot: until }, more: true };
  return { events, next: { snapshot: start, backlog: { until, afterId: readId, throughId } }, more: true };
}

/**
 * Ids that one page walks at most. A transaction that appended hours ago and commits now makes its window span
 * those hours, of which it holds almost nothing.
 */
const WALK_IDS = 200_000n;

/** What one read returns at most, in bytes, but for a single larger row: a page of rows and audiences at their largest would be 300 MB. */
const PAGE_BYTES = 16_000_000;

/** So many times smaller is the next page where one cannot be read. */
const SMALLER = 8;

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
  /** Why the row is not here as it was written; null where it is. */
  readonly problem: string | null;
}

interface PageRow extends LoggedEvent {
  /** Rows that there were for the page; some of them left out where their bytes are too many. */
  readonly found: number;
}

interface FreshRow extends PageRow {
  readonly now: string;
}

/** A longer type is nobody's, and neither are so many terms (rowcast.check_audience() takes a thousand of 300 bytes). */
const MAX_TYPE_BYTES = 1000;
const MAX_AUDIENCE_BYTES = 1_000_000;
/** The writer's trigger keeps keys of 1,000 bytes. */
const MAX_KEY_BYTES = 8000;

/**
 * Rows of the log, aliased `e`, as text, with `size` in bytes. The lateral selects (`offset 0` keeps them apart) print each JSON once; named in
 * several places, it would be printed in each. What is stored compressed in more than the limit is not even unpacked.
 * @param from a relation with the log's columns
 * @param limit the placeholder of `maxDataBytes`
 */
function rowsOf(from: string, limit: string): string {
  return `select e.id as place, e.id::text as id, e.xid::text as xid,
    case when s.addressed then e.type else left(e.type, 100) end as type, case when s.addressed then e.audience else '{}' end as audience,
    case when t.bytes <= ${limit} then t.data end as data, case when t.bytes <= ${limit} then t.old end as old,
    t.bytes > ${limit} or t.data is null and e.key is not null as oversize,
    case when pg_column_size(e.key) <= ${MAX_KEY_BYTES} then e.key::text end as key,
    (extract(epoch from e.occurred_at) * 1000)::bigint::text as timestamp,
    case when s.addressed then e.problem else 'its type or audience is too large' end as problem,
    least(t.bytes, ${limit}) + case when s.addressed then s.audience_bytes else 0 end + 500 as size
    from ${from} e cross join lateral (
      select a.audience_bytes, octet_length(e.type) <= ${MAX_TYPE_BYTES} and a.audience_bytes <= ${MAX_AUDIENCE_BYTES} as addressed,
        coalesce(pg_column_size(e.data), 0) + coalesce(pg_column_size(e.old), 0) as stored
      from (select case when pg_column_size(e.audience) between 1000 and ${MAX_AUDIENCE_BYTES} then octet_length(e.audience::text)
        else pg_column_size(e.audience) end as audience_bytes offset 0) a offset 0) s
    cross join lateral (
      select p.data, p.old,
        case when s.stored > ${limit} then s.stored else coalesce(octet_length(p.data), 0) + coalesce(octet_length(p.old), 0) end as bytes
      from (select case when s.stored <= ${limit} then e.data::text end as data,
        case when s.stored <= ${limit} then e.old::text end as old offset 0) p offset 0) t`;
}

/**
 * The first of `rows` whose bytes before them are less than a limit.
 * @param bytes the placeholder of that limit
 */
function bounded(rows: string, bytes: string): string {
  return `select b.* from (
    select r.*, sum(r.size) over (order by r.place rows unbounded preceding) - r.size as before, count(*) over ()::int as found
    from (${rows}) r) b where b.before < ${bytes}::bigint`;
}

/**
 * $1 xip and $2 xmax of the start, $3 rows at most, $4 maxDataBytes, $5 bytes at most. One statement, so one snapshot for both its rows and
 * its end.
 */
const FRESH = `
  with now as materialized (select pg_current_snapshot() as snapshot),
  fresh as materialized (
    select e.* from unnest($1::xid8[]) as late (xid) cross join lateral (select * from rowcast.event where event.xid = late.xid limit $3) e
    union all
    (select * from rowcast.event where xid >= $2::xid8 order by xid limit $3)
  )
  select now.snapshot::text as now, coalesce(e.found, 0) as found, e.* from now
  left join (${bounded(rowsOf('(select * from fresh limit $3)', '$4::int'), '$5')}) e on true
  order by e.place`;

/** Instead of the former, where one of its rows cannot be read: more than there are were found. */
const NOW = `select pg_current_snapshot()::text as now, 2 as found`;

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
const WITHIN = `
  where e.id > $1::bigint and e.id <= $2::bigint
    and pg_visible_in_snapshot(e.xid, $4::pg_snapshot) and not pg_visible_in_snapshot(e.xid, $3::pg_snapshot)
  order by e.id`;

/** $1 id after which, $2 up to which; $3 start and $4 end of the window; $5 rows, $6 maxDataBytes, $7 bytes at most. */
const PAGE = `${bounded(`${rowsOf('rowcast.event', '$6::int')} ${WITHIN} limit $5`, '$7')} order by b.place`;

/** The first row of such a page, by name. */
const NEXT = `
  select e.id::text as id, e.xid::text as xid, (extract(epoch from e.occurred_at) * 1000)::bigint::text as timestamp
  from rowcast.event e ${WITHIN} limit 1`;
