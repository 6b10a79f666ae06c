import type { Position } from './event-log.ts';
import { Session, type SessionOptions } from './session.ts';
import { Snapshot } from './snapshot.ts';

/** A standby tries this often; a leader that stops says so by a notification, and is followed at once. */
const ATTEMPT_INTERVAL_MS = 1000;
/** How often the holder proves that its session lives. */
const HEARTBEAT_INTERVAL_MS = 3000;
const HEARTBEAT_TIMEOUT_MS = 5000;
/**
 * How long after its last proof the holder may act as one. Shorter than BREAK_AFTER_MS: a frozen leader that
 * wakes has stopped trusting its lease before a standby could break it.
 */
const TRUST_MS = 8000;
/** A holder that proved nothing for this long is frozen: its backend is ended, and with it its lock. */
const BREAK_AFTER_MS = 12_000;

/** Row of rowcast.cursor: there is one consumer of the log. */
export const CONSUMER = 'relay';

/** Second key of its lock: see rowcast.lock_class(). */
export const LEASE = 2;

/**
 * The right to deliver: a session advisory lock. The cursor is committed on the very connection that holds
 * the lock, so a relay that lost its lease cannot commit: its connection is gone. Also the home of the cursor
 * row, which only the holder writes.
 *
 * Lifecycle: `acquire` waits (a standby) → held until `session.ended` aborts or `release`. A standby ends the
 * backend of a holder whose heartbeat has stopped (a process that is frozen keeps its connection, and so its lock).
 */
export class Lease {
  readonly session: Session;
  readonly #heartbeat: NodeJS.Timeout;
  /** As the cursor was read last. */
  #installation: string | null = null;
  #provedAt = performance.now();

  private constructor(session: Session) {
    this.session = session;
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_INTERVAL_MS);
  }

  /** Whether it is certain that nobody else holds the lease. */
  get trusted(): boolean {
    return !this.session.ended.aborted && performance.now() - this.#provedAt < TRUST_MS;
  }

  /**
   * Waits until the lease is free and takes it.
   * @returns null when the signal aborted first
   * @throws when the connection is lost meanwhile
   */
  static async acquire(options: AcquireOptions): Promise<Lease | null> {
    const session = await Session.open(options.session);
    try {
      while (!options.signal.aborted) {
        if (await Lease.#attempt(session)) return new Lease(session);
        options.onStandby();
        await Lease.#breakFrozen(session, options);
        await options.nextAttempt(ATTEMPT_INTERVAL_MS);
      }
    } catch (error) {
      session.destroy();
      throw error;
    }
    await session.close();
    return null;
  }

  /** @throws on a hot standby: advisory locks are each server's own, and one taken there would make a second leader */
  static async #attempt(session: Session): Promise<boolean> {
    const [row] = await session.query<{ standby: boolean; held: boolean }>(
      `select pg_is_in_recovery() as standby, not pg_is_in_recovery() and pg_try_advisory_lock(rowcast.lock_class(), $1) as held`,
      [LEASE],
    );
    if (row?.standby) throw new Error('DATABASE_URL leads to a read-only standby; give it the writer endpoint');
    return row?.held ?? false;
  }

  /** Ends the backend of a holder that has not been heard of for BREAK_AFTER_MS. */
  static async #breakFrozen(session: Session, options: AcquireOptions): Promise<void> {
    const broken = await session.query<{ pid: number; silent_s: number }>(
      `select a.pid, extract(epoch from clock_timestamp() - a.state_change)::int as silent_s, pg_terminate_backend(a.pid)
       from pg_locks l join pg_stat_activity a on a.pid = l.pid
       where l.locktype = 'advisory' and l.granted and l.database = a.datid and a.datname = current_database()
         and l.classid = rowcast.lock_class() and l.objid = $1 and l.objsubid = 2
         and a.state_change < clock_timestamp() - $2 * interval '1 millisecond'`,
      [LEASE, BREAK_AFTER_MS],
    );
    for (const { pid, silent_s } of broken) options.onBroken({ pid, silentSeconds: silent_s });
  }

  async #beat(): Promise<void> {
    // What counts is when it was asked: an answer may have waited in a frozen process.
    const askedAt = performance.now();
    await this.session.ping(HEARTBEAT_TIMEOUT_MS).then(
      () => {
        this.#provedAt = askedAt;
      },
      () => undefined,
    );
  }

  /** The installation this database is, and the place in the log up to which everything was delivered. */
  async readCursor(): Promise<StoredCursor | UnusableCursor> {
    const [row] = await this.session.query<CursorRow>(
      `select c.snapshot::text, c.until::text, c.after_id::text, c.through_id::text, c.served_snapshot::text, c.served_connections,
         (extract(epoch from c.served_until) * 1000)::float8 as served_until, i.id::text as installation, i.floor::text as floor,
         (extract(epoch from i.adopted_at) * 1000)::float8 as adopted_at,
         i.identity = rowcast.database_identity() as ours, pg_snapshot_xmax(pg_current_snapshot())::text as xmax
       from rowcast.installation i left join rowcast.cursor c on c.consumer = $1`,
      [CONSUMER],
    );
    if (!row)
      throw new Error(
        'rowcast.installation is empty: was the schema restored without its data? Run the migrations on a fresh schema.',
      );
    if (row.snapshot === null) throw new Error(`rowcast.cursor has no row for consumer "${CONSUMER}"`);
    this.#installation = row.installation;
    if (!row.ours) return { usable: false, reason: 'copy' };
    const position = Snapshot.parse(row.snapshot);
    if (position.xmax > BigInt(row.xmax)) return { usable: false, reason: 'void' };
    return {
      usable: true,
      installation: row.installation,
      floor: BigInt(row.floor),
      adoptedAtMs: Number(row.adopted_at),
      xmax: BigInt(row.xmax),
      position: {
        snapshot: position,
        ...(row.until && row.after_id && row.through_id
          ? { backlog: { until: Snapshot.parse(row.until), afterId: row.after_id, throughId: row.through_id } }
          : {}),
      },
      served: {
        untilMs: Number(row.served_until),
        snapshot: Snapshot.parse(row.served_snapshot),
        connections: row.served_connections,
      },
    };
  }

  /** Starts over from now, as an installation of its own: every cursor of a client is void then, and known to be. */
  async adopt(): Promise<void> {
    // A large log takes longer to delete than a statement may take, and than a heartbeat may wait.
    for (let deleted = ADOPT_ROWS; deleted === ADOPT_ROWS; )
      deleted = (await this.session.query(EMPTY_LOG, [ADOPT_ROWS])).length;
    await this.session.query('select rowcast.adopt()');
  }

  /**
   * Everything up to `position` was delivered. Not flushed to disk on its own: a crash costs repeats, never losses.
   * @throws where the database has become another installation since the cursor was read
   */
  async commitCursor(position: Position, served: Served): Promise<void> {
    const backlog = position.backlog;
    const rows = await this.session.query(
      `update rowcast.cursor set snapshot = $2, until = $3, after_id = $4, through_id = $5,
         served_until = to_timestamp($6::float8 / 1000), served_snapshot = $7, served_connections = $8, updated_at = now()
       where consumer = $1 and installation = $9 returning 1`,
      [
        CONSUMER,
        position.snapshot.text,
        backlog?.until.text ?? null,
        backlog?.afterId ?? null,
        backlog?.throughId ?? null,
        served.untilMs,
        served.snapshot.text,
        served.connections,
        this.#installation,
      ],
      'commit_cursor',
    );
    if (rows.length === 0) throw new Error(ANOTHER);
  }

  /** @throws where the database has become another installation since the cursor was read */
  async checkInstallation(): Promise<void> {
    const rows = await this.session.query('select from rowcast.cursor where consumer = $1 and installation = $2', [
      CONSUMER,
      this.#installation,
    ]);
    if (rows.length === 0) throw new Error(ANOTHER);
  }

  /** Lets a standby follow at once. */
  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.session
      .query(`select pg_advisory_unlock(rowcast.lock_class(), $1), pg_notify('rowcast_control', '')`, [LEASE])
      .catch(() => undefined);
    await this.session.close();
  }
}

/** Rows that one statement of `adopt` deletes. */
const ADOPT_ROWS = 20_000;

const EMPTY_LOG =
  'delete from rowcast.event where id in (select id from rowcast.event order by id limit $1) returning 1';

const ANOTHER =
  'the database has become another installation (rowcast.adopt() or rowcast.refetch()), or has lost its cursor';

/** Which connections need no replay any more. */
export interface Served {
  /** Those made before, epoch ms. */
  readonly untilMs: number;
  /** It sees nothing that was committed after that instant. */
  readonly snapshot: Snapshot;
  /** Ids of younger ones; empty but after a clean stop. */
  readonly connections: readonly string[];
}

/** `copy`: the database is a copy of the one where Rowcast was installed. `void`: the cursor is of transactions that never were. */
export interface UnusableCursor {
  readonly usable: false;
  readonly reason: 'copy' | 'void';
}

export interface StoredCursor {
  readonly usable: true;
  /** uuid of the installation. */
  readonly installation: string;
  /** Rows of transactions below may have been removed. */
  readonly floor: bigint;
  /** Connections made before are to fetch again, epoch ms; -Infinity where there are none. */
  readonly adoptedAtMs: number;
  /** No transaction from here on had begun when the cursor was read. */
  readonly xmax: bigint;
  readonly position: Position;
  readonly served: Served;
}

export interface AcquireOptions {
  readonly session: SessionOptions;
  readonly signal: AbortSignal;
  /** Another relay holds the lease; called at each attempt. */
  onStandby(): void;
  /** A frozen holder's backend was ended. */
  onBroken(holder: { pid: number; silentSeconds: number }): void;
  /** Resolves after the time given, or earlier when the lease may be free. */
  nextAttempt(afterMs: number): Promise<void>;
}

interface CursorRow {
  installation: string;
  floor: string;
  adopted_at: string;
  ours: boolean;
  xmax: string;
  snapshot: string | null;
  until: string | null;
  after_id: string | null;
  through_id: string | null;
  served_until: string;
  served_snapshot: string;
  served_connections: string[];
}
