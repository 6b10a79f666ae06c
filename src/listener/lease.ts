import { type Clock, every, type Timer } from '../clock.ts';
import type { SqlSession } from '../postgres/session.ts';

/**
 * A standby tries this often; a leader that stops says so by a notification, and is followed at
 * once.
 */
const ATTEMPT_INTERVAL_MS = 1000;
/** How often the holder proves that its session lives. */
const HEARTBEAT_INTERVAL_MS = 3000;
const HEARTBEAT_TIMEOUT_MS = 5000;
/**
 * How long after its last proof the holder may act as one. Shorter than BREAK_AFTER_MS: a frozen
 * leader that wakes has stopped trusting its lease before a standby could break it.
 */
const TRUST_MS = 8000;
/**
 * A holder that proved nothing for this long is frozen: its backend is ended, and with it its lock.
 */
const BREAK_AFTER_MS = 12_000;

/**
 * The right to deliver: a session advisory lock. The cursor is committed on the very connection
 * that holds the lock (cursor-store.ts), so a relay that lost its lease cannot commit: its
 * connection is gone.
 *
 * Lifecycle: `acquire` waits (a standby) → held until `session.ended` aborts or `release`. A
 * standby ends the backend of a holder whose heartbeat has stopped (a process that is frozen keeps
 * its connection, and so its lock).
 */
export class Lease {
  readonly session: SqlSession;
  readonly #clock: Clock;
  readonly #heartbeat: Pick<Timer, 'cancel'>;
  #provedAt: number;

  private constructor(session: SqlSession, clock: Clock) {
    this.session = session;
    this.#clock = clock;
    this.#provedAt = clock.uptimeMs();
    this.#heartbeat = every(clock, HEARTBEAT_INTERVAL_MS, () => void this.#beat());
  }

  /** Whether it is certain that nobody else holds the lease. */
  get trusted(): boolean {
    return !this.session.ended.aborted && this.#clock.uptimeMs() - this.#provedAt < TRUST_MS;
  }

  /**
   * Waits until the lease is free and takes it.
   * @returns null when the signal aborted first
   * @throws when the connection is lost meanwhile
   */
  static async acquire(options: AcquireOptions): Promise<Lease | null> {
    const session = await options.open();
    try {
      while (!options.signal.aborted) {
        if (await Lease.#attempt(session)) return new Lease(session, options.clock);
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

  /**
   * @throws on a hot standby: advisory locks are each server's own, and one taken there would make
   * a second leader
   */
  static async #attempt(session: SqlSession): Promise<boolean> {
    const [row] = await session.query<{ standby: boolean; held: boolean }>(
      `select pg_is_in_recovery() as standby, not pg_is_in_recovery()
         and pg_try_advisory_lock(rowcast.lock_class(), rowcast.lease_lock()) as held`,
      [],
      'lease_try',
    );
    if (row?.standby)
      throw new Error('DATABASE_URL leads to a read-only standby; give it the writer endpoint');
    return row?.held ?? false;
  }

  /** Ends the backend of a holder that has not been heard of for BREAK_AFTER_MS. */
  static async #breakFrozen(session: SqlSession, options: AcquireOptions): Promise<void> {
    const broken = await session.query<{ pid: number; silent_s: number }>(
      `select a.pid, extract(epoch from clock_timestamp() - a.state_change)::int as silent_s, pg_terminate_backend(a.pid)
       from pg_locks l join pg_stat_activity a on a.pid = l.pid
       where l.locktype = 'advisory' and l.granted and l.database = a.datid and a.datname = current_database()
         and l.classid = rowcast.lock_class() and l.objid = rowcast.lease_lock() and l.objsubid = 2
         and a.state_change < clock_timestamp() - $1 * interval '1 millisecond'`,
      [BREAK_AFTER_MS],
      'lease_break',
    );
    for (const { pid, silent_s } of broken) options.onBroken({ pid, silentSeconds: silent_s });
  }

  async #beat(): Promise<void> {
    // The time of asking counts: an answer may have waited in a frozen process.
    const askedAt = this.#clock.uptimeMs();
    await this.session.ping(HEARTBEAT_TIMEOUT_MS).then(
      () => {
        this.#provedAt = askedAt;
      },
      () => undefined,
    );
  }

  /**
   * Lets a standby follow at once. Gives up the doorbell's lock too: a close that the network loses
   * would leave it locked for as long as the server keeps the connection.
   */
  async release(): Promise<void> {
    this.#heartbeat.cancel();
    await this.session
      .query(
        `select pg_advisory_unlock_all(), pg_notify('rowcast_control', '')`,
        [],
        'lease_release',
      )
      .catch(() => undefined);
    await this.session.close();
  }
}

export interface AcquireOptions {
  readonly clock: Clock;
  /** Opens a session for the lease alone. */
  open(): Promise<SqlSession>;
  readonly signal: AbortSignal;
  /** Another relay holds the lease; called at each attempt. */
  onStandby(): void;
  /** A frozen holder's backend was ended. */
  onBroken(holder: { pid: number; silentSeconds: number }): void;
  /** Resolves after the time given, or earlier when the lease may be free. */
  nextAttempt(afterMs: number): Promise<void>;
}
