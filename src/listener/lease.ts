import { type Clock, every, type Timer } from '../clock.ts';
import type { SqlSession } from '../postgres/session.ts';

/**
 * A standby tries this often; a leader that stops says so by a notification, and is followed at
 * once.
 */
const ATTEMPT_INTERVAL_MS = 1000;
/** How often the holder says that it lives. */
const HEARTBEAT_INTERVAL_MS = 3000;
const HEARTBEAT_TIMEOUT_MS = 5000;
/**
 * How long after it last said so the holder may act as one. Shorter than rowcast.lease_time(): a
 * frozen leader that wakes has stopped trusting its lease before a standby could follow it.
 */
const TRUST_MS = 8000;

/**
 * The right to deliver: the row of rowcast.lease, which only the relay's role may change. (An
 * advisory lock is for everybody to take.) Whoever takes it begins a term, and a commit of the
 * cursor is one of its term (cursor-store.ts): a relay that lost its lease cannot commit.
 *
 * Lifecycle: `acquire` waits (a standby) → held until `session.ended` aborts or `release`. The
 * lease is free once its holder has released it, has lost its session, or was silent for
 * rowcast.lease_time(): a process that is frozen keeps its session.
 *
 * With each heartbeat the holder learns whether somebody else has the doorbell's lock, which is one
 * that everybody may take. Then nobody rings, and the holder polls.
 */
export class Lease {
  readonly session: SqlSession;
  /** Grows with each holder. */
  readonly term: string;
  readonly #holder: string;
  readonly #clock: Clock;
  readonly #heartbeat: Pick<Timer, 'cancel'>;
  #provedAt: number;
  #isQuiet = false;
  #changed: (holders: readonly DoorbellHolder[]) => void = () => undefined;

  private constructor(session: SqlSession, clock: Clock, taken: Taken, askedAt: number) {
    this.session = session;
    this.term = taken.term;
    this.#holder = taken.holder;
    this.#clock = clock;
    this.#provedAt = askedAt;
    this.#heartbeat = every(clock, HEARTBEAT_INTERVAL_MS, () => void this.#beat());
  }

  /** Whether it is certain that nobody else holds the lease. */
  get trusted(): boolean {
    return !this.session.ended.aborted && this.#clock.uptimeMs() - this.#provedAt < TRUST_MS;
  }

  /** Nobody rings: somebody else has the doorbell's lock, or had it lately. */
  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  /** @param changed is called when `isQuiet` has changed, with those who have the lock */
  onQuiet(changed: (holders: readonly DoorbellHolder[]) => void): void {
    this.#changed = changed;
  }

  /**
   * Waits until the lease is free and takes it.
   * @returns null when the signal aborted first
   * @throws when the connection is lost meanwhile, and on a hot standby
   */
  static async acquire(options: AcquireOptions): Promise<Lease | null> {
    const session = await options.open();
    try {
      while (!options.signal.aborted) {
        const askedAt = options.clock.uptimeMs();
        const taken = await take(session, options);
        if (taken) return new Lease(session, options.clock, taken, askedAt);
        options.onStandby();
        await options.nextAttempt(ATTEMPT_INTERVAL_MS);
      }
    } catch (error) {
      session.destroy();
      throw error;
    }
    await session.close();
    return null;
  }

  async #beat(): Promise<void> {
    // The time of asking counts: an answer may have waited in a frozen process.
    const askedAt = this.#clock.uptimeMs();
    try {
      const [row] = await this.session.query<{ quiet: boolean | null }>(
        'select rowcast.renew_lease($1) as quiet',
        [this.#holder],
        'lease_renew',
        HEARTBEAT_TIMEOUT_MS,
      );
      if (typeof row?.quiet !== 'boolean') return this.session.destroy();
      this.#provedAt = askedAt;
      if (row.quiet !== this.#isQuiet) await this.#setQuiet(row.quiet);
    } catch {
      // The session is over, and says so; or a statement failed, and the next may not.
    }
  }

  async #setQuiet(isQuiet: boolean): Promise<void> {
    this.#isQuiet = isQuiet;
    const holders = await this.session.query<DoorbellHolder>(
      'select pid, role, application from rowcast.doorbell_holders() limit 5',
      [],
      'doorbell_holders',
    );
    this.#changed(holders);
  }

  /**
   * Lets a standby follow at once. Gives up the doorbell's lock too: a close that the network loses
   * would leave it locked for as long as the server keeps the connection.
   */
  async release(): Promise<void> {
    this.#heartbeat.cancel();
    await this.session
      .query(
        `select rowcast.release_lease($1), pg_advisory_unlock_all(), pg_notify('rowcast_control', '')`,
        [this.#holder],
        'lease_release',
      )
      .catch(() => undefined);
    await this.session.close();
  }
}

/** A silent holder's session is ended only where it is of this very role. */
const TAKE = `
  select l.*, (select pg_terminate_backend(a.pid) from pg_stat_activity a
    where a.pid = l.silent_pid and a.usename = session_user and pg_has_role(a.usesysid, 'usage')) as ended
  from rowcast.take_lease($1) l`;

async function take(session: SqlSession, options: AcquireOptions): Promise<Taken | null> {
  const [row] = await session.query<TakeRow>(TAKE, [options.name], 'lease_take');
  if (row?.standby)
    throw new Error('DATABASE_URL leads to a read-only standby; give it the writer endpoint');
  if (!row?.term || !row.holder) return null;
  if (row.ended && row.silent_pid !== null)
    options.onBroken({ pid: row.silent_pid, silentSeconds: row.silent_seconds ?? 0 });
  return { term: row.term, holder: row.holder };
}

interface Taken {
  readonly term: string;
  /** Uuid. */
  readonly holder: string;
}

interface TakeRow {
  readonly standby: boolean;
  readonly holder: string | null;
  readonly term: string | null;
  readonly silent_pid: number | null;
  /** Its session was ended. */
  readonly ended: boolean | null;
  readonly silent_seconds: number | null;
}

/** A session that has the doorbell's lock, or waits for it, and is not the leader's. */
export interface DoorbellHolder {
  readonly pid: number;
  readonly role: string | null;
  readonly application: string | null;
}

export interface AcquireOptions {
  readonly clock: Clock;
  /** Names the holder in rowcast.lease. */
  readonly name: string;
  /** Opens a session for the lease alone. */
  open(): Promise<SqlSession>;
  readonly signal: AbortSignal;
  /** Another relay holds the lease; called at each attempt. */
  onStandby(): void;
  /** A silent holder's session was ended. */
  onBroken(holder: { pid: number; silentSeconds: number }): void;
  /** Resolves after the time given, or earlier when the lease may be free. */
  nextAttempt(afterMs: number): Promise<void>;
}
