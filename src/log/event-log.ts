import { isForeignText } from '../postgres/foreign-text.ts';
import type { SqlSession } from '../postgres/session.ts';
import { BOUNDS, FRESH, NEXT, NOW, PAGE } from './log-queries.ts';
import type { LoggedEvent } from './logged-event.ts';
import { isDataError, type RowName, salvage } from './salvage.ts';
import { Snapshot } from './snapshot.ts';

/**
 * Reads the log by snapshots. A window is everything that is visible in its end snapshot and was
 * not in its start snapshot:
 *
 *     xid >= pg_snapshot_xmax(start)          began after the start
 *     or xid in pg_snapshot_xip(start)        was in flight at the start
 *     and visible in the end
 *
 * No gap: a transaction that took its id early and committed late is in the window in which it
 * became visible. No delay: a transaction that stays open holds back nothing but itself. The index
 * on xid makes a read cost the new rows only.
 *
 * When more waits than fits a page, the window's end is fixed and the window is read page by page
 * in the order of id, however many transactions it holds or however large one is. (Cutting a
 * backlog at an xid boundary instead would break the order of one row's changes: a transaction that
 * began early and changed the row late has the smaller xid and the larger id.) Conflicting writes
 * of one row have ids in their commit order, and of two windows the first was visible first; so a
 * client sees one row's changes in the order they were logged (docs/sql.md, "Events").
 *
 * A read is bounded in bytes of all that it returns, and one bad row stops nothing: where a page
 * cannot be read because of what is in it, smaller pages are, down to the row, which is read by
 * itself (salvage.ts).
 */
export class EventLog {
  readonly #session: SqlSession;
  readonly #pageRows: number;
  readonly #maxDataBytes: number;

  constructor(deps: { session: SqlSession; pageRows: number; maxDataBytes: number }) {
    this.#session = deps.session;
    this.#pageRows = deps.pageRows;
    this.#maxDataBytes = deps.maxDataBytes;
  }

  /**
   * Reads on after `position`: everything new, or one page of a backlog.
   * @param terms of a backlog, what is for other audiences is left out; null leaves out nothing
   */
  async read(position: Position, terms: Terms = null): Promise<Page> {
    if (position.backlog) return this.#readBacklog(position.snapshot, position.backlog, terms);
    const { snapshot } = position;
    const values = [
      xids(snapshot),
      String(snapshot.xmax),
      this.#pageRows + 1,
      this.#maxDataBytes,
      PAGE_BYTES,
    ];
    const rows = await this.#session
      .query<FreshRow>(FRESH, values, 'read_fresh')
      .catch(async (error: unknown) => {
        if (!isDataError(error)) throw error;
        return this.#session.query<FreshRow>(NOW, [], 'read_now');
      });
    const { now, found } = rows[0] as FreshRow;
    const until = Snapshot.parse(now);
    if (found > rows.length || rows.length > this.#pageRows)
      return this.#openBacklog(snapshot, until, null);
    return {
      events: rows.filter((row) => row.id !== null),
      next: { snapshot: until },
      more: false,
    };
  }

  /** The window between two snapshots: what a replay reads. */
  async between(start: Snapshot, until: Snapshot, terms: Terms = null): Promise<Page> {
    return this.#openBacklog(start, until, terms);
  }

  async #openBacklog(start: Snapshot, until: Snapshot, terms: Terms): Promise<Page> {
    let first: bigint | undefined;
    let last = 0n;
    let from: Bounds | undefined;
    let late = xids(start);
    do {
      const values = [
        late,
        from?.xid ?? String(start.xmax),
        from?.id ?? '0',
        String(until.xmax),
        COUNTED_ROWS,
      ];
      [from] = await this.#session.query<Bounds>(BOUNDS, values, 'read_bounds');
      late = [];
      if (from?.first && from.last) {
        if (first === undefined || BigInt(from.first) < first) first = BigInt(from.first);
        if (BigInt(from.last) > last) last = BigInt(from.last);
      }
    } while (from?.counted === COUNTED_ROWS);
    if (first === undefined) return { events: [], next: { snapshot: until }, more: false };
    const backlog = { until, afterId: String(first - 1n), throughId: String(last) };
    return this.#readBacklog(start, backlog, terms);
  }

  async #readBacklog(start: Snapshot, backlog: Backlog, terms: Terms): Promise<Page> {
    let walk = terms ? CHOSEN_IDS : WALK_IDS;
    for (let rows = this.#pageRows; ; rows = Math.ceil(rows / SMALLER), walk /= BigInt(SMALLER)) {
      try {
        return await this.#readPage(start, backlog, { rows, walk, terms });
      } catch (error) {
        if (!isDataError(error)) throw error;
        if (terms && isForeignText(error)) return this.#readBacklog(start, backlog, null);
        if (rows === 1) return this.#readBadRow(start, backlog, walk);
      }
    }
  }

  async #readPage(
    start: Snapshot,
    backlog: Backlog,
    limits: { readonly rows: number; readonly walk: bigint; readonly terms: Terms },
  ): Promise<Page> {
    const { until, afterId } = backlog;
    const walkedId = walkTo(backlog, limits.walk);
    const window = [afterId, walkedId, start.text, until.text];
    const rows = await this.#session.query<PageRow>(
      PAGE,
      [...window, limits.rows, this.#maxDataBytes, PAGE_BYTES, limits.terms],
      'read_page',
    );
    const full = rows.length === limits.rows || (rows[0]?.found ?? 0) > rows.length;
    return pageUpTo(start, backlog, rows, full ? (rows.at(-1) as LoggedEvent).id : walkedId);
  }

  async #readBadRow(start: Snapshot, backlog: Backlog, walk: bigint): Promise<Page> {
    const walkedId = walkTo(backlog, walk);
    const values = [backlog.afterId, walkedId, start.text, backlog.until.text];
    const [row] = await this.#session.query<RowName>(NEXT, values, 'read_next');
    if (!row) return pageUpTo(start, backlog, [], walkedId);
    return pageUpTo(
      start,
      backlog,
      [await salvage(this.#session, row, this.#maxDataBytes)],
      row.id,
    );
  }
}

/** The id up to which a page looks. */
function walkTo({ afterId, throughId }: Backlog, walk: bigint): string {
  const walked = BigInt(afterId) + walk;
  return walked < BigInt(throughId) ? String(walked) : throughId;
}

/** @param readId of the window, everything up to there has been read now */
function pageUpTo(
  start: Snapshot,
  backlog: Backlog,
  events: readonly LoggedEvent[],
  readId: string,
): Page {
  const { until, throughId } = backlog;
  if (readId === throughId) return { events, next: { snapshot: until }, more: true };
  return {
    events,
    next: { snapshot: start, backlog: { until, afterId: readId, throughId } },
    more: true,
  };
}

/**
 * Ids that one page walks at most. A transaction that appended hours ago and commits now makes its
 * window span those hours, of which it holds almost nothing.
 */
const WALK_IDS = 200_000n;

/** The same where rows are chosen by their audience, which has to be looked at. */
const CHOSEN_IDS = 50_000n;

/**
 * The most bytes that one read returns, but for a single larger row: a page of rows and
 * audiences at their largest would be 300 MB.
 */
const PAGE_BYTES = 16_000_000;

/** A page that cannot be read is followed by one that is so many times smaller. */
const SMALLER = 8;

/**
 * Entries of the index that one statement looks at for the bounds of a window: it takes no longer
 * than a page.
 */
const COUNTED_ROWS = 50_000;

/** Audience terms. */
type Terms = readonly string[] | null;

function xids(snapshot: Snapshot): string[] {
  return snapshot.xip.map(String);
}

/**
 * How far the log was read: all that `snapshot` sees, and of an unfinished window what its backlog
 * says.
 */
export interface Position {
  readonly snapshot: Snapshot;
  readonly backlog?: Backlog;
}

/** Everything visible there has been read, or is being. */
export function dispatchedUpTo(position: Position): Snapshot {
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

interface PageRow extends LoggedEvent {
  /** Rows that there were for the page; some of them left out where their bytes are too many. */
  readonly found: number;
}

interface FreshRow extends PageRow {
  readonly now: string;
}

interface Bounds {
  readonly first: string | null;
  readonly last: string | null;
  readonly counted: number;
  /** The last of those counted. */
  readonly xid: string | null;
  readonly id: string | null;
}
