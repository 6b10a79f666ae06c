import type { SqlSession } from '../postgres/session.ts';
import type { Position } from './event-log.ts';
import { Snapshot } from './snapshot.ts';

/** Row of rowcast.cursor: there is one consumer of the log. */
export const CONSUMER = 'relay';

/** Rows that one statement of `adopt` deletes. */
const ADOPT_ROWS = 20_000;

const EMPTY_LOG =
  'delete from rowcast.event where id in (select id from rowcast.event order by id limit $1) returning 1';

const NOT_OURS_ANY_MORE =
  'another relay has taken the lease, the database has become another installation (rowcast.adopt() or rowcast.refetch()), or has lost its cursor';

/**
 * The cursor's row, which only the holder of the lease writes: a commit of another term's than the
 * row says changes nothing. Knows the installation as it was when the cursor was read: once the
 * database has become another one (rowcast.adopt(), rowcast.refetch()) nothing is committed.
 */
export class CursorStore {
  readonly #session: SqlSession;
  readonly #term: string;
  /** The installation that the cursor was of when it was read. */
  #installation: string | null = null;
  #cursorKey: string | null = null;

  constructor({ session, term }: { readonly session: SqlSession; readonly term: string }) {
    this.#session = session;
    this.#term = term;
  }

  /**
   * The installation this database is, and the place in the log up to which everything was
   * delivered.
   * @param hasConnections clients are connected that may have missed something where the
   * installation is new
   */
  async read(hasConnections: boolean): Promise<StoredCursor | UnusableCursor> {
    await this.#session.query(NOTICE, [hasConnections], 'notice_installation');
    const [row] = await this.#session.query<CursorRow>(READ, [CONSUMER], 'read_cursor');
    if (!row || row.snapshot === null) return { usable: false, reason: 'empty' };
    this.#installation = row.fence;
    this.#cursorKey = row.cursor_key;
    if (!row.ours) return { usable: false, reason: 'copy' };
    const position = Snapshot.parse(row.snapshot);
    if (position.xmax > BigInt(row.xmax)) return { usable: false, reason: 'void' };
    if (row.replaced) return { usable: false, reason: 'replaced' };
    return {
      usable: true,
      installation: row.installation,
      floor: BigInt(row.floor),
      refetchBeforeMs: Number(row.refetch_before),
      commits: Number(row.commits),
      cursorKeys: {
        current: Buffer.from(row.cursor_key, 'hex'),
        former: row.former_cursor_key === null ? null : Buffer.from(row.former_cursor_key, 'hex'),
      },
      position: {
        snapshot: position,
        ...(row.until && row.after_id && row.through_id
          ? {
              backlog: {
                until: Snapshot.parse(row.until),
                afterId: row.after_id,
                throughId: row.through_id,
              },
            }
          : {}),
      },
      exceptions: row.exceptions,
      served: { untilMs: Number(row.served_until), snapshot: Snapshot.parse(row.served_snapshot) },
    };
  }

  /**
   * Starts over from now, as an installation of its own: every cursor of a client is void then, and
   * known to be.
   */
  async adopt(): Promise<void> {
    // A large log takes longer to delete than a statement may take, and than a heartbeat may wait.
    for (let deleted = ADOPT_ROWS; deleted === ADOPT_ROWS; )
      deleted = (await this.#session.query(EMPTY_LOG, [ADOPT_ROWS], 'empty_log')).length;
    await this.#session.query('select rowcast.adopt()', [], 'adopt');
  }

  /** Every client is told to fetch again; what waits in the log is delivered. */
  async refetch(): Promise<void> {
    await this.#session.query('select rowcast.refetch()', [], 'refetch');
  }

  /**
   * Commits how far delivery has come. The commit is flushed to disk, and with it the WAL of every
   * transaction that ended before: once it is made, no crash of Postgres undoes a transaction that
   * `row` or an earlier read of the log sees.
   * @param row `exceptions` null: as they were committed last
   * @throws where the lease is lost, or the database has become another installation since the
   * cursor was read
   */
  async commit({ position, delivered, exceptions, served }: CommittedCursor): Promise<void> {
    const { snapshot, backlog } = position;
    const rows = await this.#session.query(
      COMMIT,
      [
        CONSUMER,
        this.#installation,
        this.#term,
        snapshot.text,
        backlog?.until.text ?? null,
        backlog?.afterId ?? null,
        backlog?.throughId ?? null,
        delivered.text,
        exceptions,
        served.untilMs,
        served.snapshot.text,
      ],
      'commit_cursor',
    );
    if (rows.length === 0) throw new Error(NOT_OURS_ANY_MORE);
  }

  /** @throws as `commit` does, and where the key of cursors is another */
  async check(): Promise<void> {
    const rows = await this.#session.query<{ key: string }>(
      CHECK,
      [CONSUMER, this.#installation, this.#term],
      'check_cursor',
    );
    if (rows.length === 0) throw new Error(NOT_OURS_ANY_MORE);
    if (rows[0]?.key !== this.#cursorKey) throw new Error('the key of cursors was rotated');
  }
}

const CHECK = `
  select encode(i.cursor_key, 'hex') as key from rowcast.cursor c cross join rowcast.installation i
  where c.consumer = $1 and c.installation = $2 and c.term = $3`;

const NOTICE = `
  update rowcast.installation set refetch_before = case when $1 then clock_timestamp() else '-infinity' end
  where refetch_before is null and identity = rowcast.database_identity()`;

const READ = `
  select c.snapshot::text, c.until::text, c.after_id::text, c.through_id::text, c.exceptions::text, c.commits::text,
    c.served_snapshot::text, (extract(epoch from c.served_until) * 1000)::float8 as served_until, c.installation::text as fence,
    i.id::text as installation, encode(i.cursor_key, 'hex') as cursor_key, encode(i.former_cursor_key, 'hex') as former_cursor_key, i.floor::text, (extract(epoch from i.refetch_before) * 1000)::float8 as refetch_before,
    i.identity = rowcast.database_identity() as ours, i.timeline <> rowcast.timeline() as replaced,
    pg_snapshot_xmax(pg_current_snapshot())::text as xmax
  from rowcast.installation i left join rowcast.cursor c on c.consumer = $1`;

const COMMIT = `
  update rowcast.cursor set snapshot = $4, until = $5, after_id = $6, through_id = $7, delivered = $8,
    exceptions = coalesce($9, exceptions), served_until = to_timestamp($10::float8 / 1000), served_snapshot = $11,
    commits = commits + 1, updated_at = now()
  where consumer = $1 and installation = $2 and term = $3 returning 1`;

/** Which connections have had their replay. */
export interface Served {
  /** Connections made before have been served, epoch ms. */
  readonly untilMs: number;
  /** It sees nothing that was committed after that instant. */
  readonly snapshot: Snapshot;
}

/** Committed together: nothing of it is ahead of what a connection has. */
export interface CommittedCursor {
  /** Delivered, in order, to everybody but those that `exceptions` names. */
  readonly position: Position;
  /** Delivered to everybody. */
  readonly delivered: Snapshot;
  /** JSON, see relay/exceptions.ts; null where nothing changed since the last commit. */
  readonly exceptions: string | null;
  readonly served: Served;
}

/**
 * `empty`: the schema was restored without its data. `copy`: the database is a copy of the one
 * where Rowcast was installed. `void`: the cursor names transactions that never were. `replaced`: a
 * replica, or a restore to an earlier moment, has taken the database's place and may be missing its
 * last transactions.
 */
export interface UnusableCursor {
  readonly usable: false;
  readonly reason: 'empty' | 'copy' | 'void' | 'replaced';
}

export interface StoredCursor {
  readonly usable: true;
  /** uuid of the installation. */
  readonly installation: string;
  /** Rows of transactions below may have been removed. */
  readonly floor: bigint;
  /** Connections made before are to fetch again, epoch ms; -Infinity where there are none. */
  readonly refetchBeforeMs: number;
  /** Commits of this row, of all relays. */
  readonly commits: number;
  /** Sign the cursors of clients (relay/cursor-tokens.ts). */
  readonly cursorKeys: { readonly current: Buffer; readonly former: Buffer | null };
  readonly position: Position;
  /** JSON, see relay/exceptions.ts. */
  readonly exceptions: string;
  readonly served: Served;
}

interface CursorRow {
  installation: string;
  fence: string | null;
  cursor_key: string;
  former_cursor_key: string | null;
  floor: string;
  refetch_before: string;
  ours: boolean;
  replaced: boolean;
  xmax: string;
  snapshot: string | null;
  until: string | null;
  after_id: string | null;
  through_id: string | null;
  exceptions: string;
  commits: string;
  served_until: string;
  served_snapshot: string;
}
