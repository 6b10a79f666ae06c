import { Snapshot } from '../../src/log/snapshot.ts';
import { type MembershipChange, SimulatedMemberships } from './memberships.ts';
import { SimulatedPresence } from './presence.ts';
import type { VirtualTime } from './virtual-time.ts';

/** An event as a writer appended it. */
export interface Row {
  readonly id: bigint;
  readonly xid: bigint;
  /** The event is one of rowcast.disconnect(). */
  readonly isDisconnect?: true;
  /** The event says that memberships have changed. */
  readonly isMembers?: true;
  /** The row of the user's table: its changes come in order. */
  readonly key: string;
  readonly audience: readonly string[];
  readonly occurredMs: number;
  /** When it became visible, in virtual time; undefined until then. */
  committedAt?: number;
  /** The place of its transaction among the commits. */
  commit?: number;
  /** Who was in the room by a table as it was committed. */
  members?: ReadonlySet<string>;
  /** Retention removed it. */
  removed?: boolean;
}

/** A writer's open transaction. */
export interface Transaction {
  readonly xid: bigint;
  readonly rows: Row[];
  readonly changes: MembershipChange[];
  /** It shares the doorbell's lock: it knows the relay awake. */
  sharesDoorbell: boolean;
  rings: boolean;
}

export interface CursorRow {
  installation: string;
  snapshot: string;
  until: string | null;
  after_id: string | null;
  through_id: string | null;
  delivered: string;
  exceptions: string;
  commits: number;
  term: number;
  served_until: number;
  served_snapshot: string;
}

/** A connection at the server's side. */
export interface Backend {
  /** The process at the other end. */
  readonly owner: unknown;
  alive: boolean;
  /** The server ends it: the client hears of it, or not where the network lost it. */
  end(): void;
}

/** The row of rowcast.lease. */
interface LeaseRow {
  readonly holder: string;
  readonly backend: Backend;
  /** In virtual time, as the others. */
  readonly since: number;
  until: number;
  quietUntil: number;
}

const FIRST_XID = 1000n;

/** rowcast.lease_time() */
const LEASE_MS = 12_000;
/** As rowcast.renew_lease() has it. */
const QUIET_MS = 30_000;

/**
 * Postgres as the relay sees it: transactions that commit in any order, snapshots, visibility, the
 * lease, the doorbell's lock, notifications, and a crash that undoes what was not flushed.
 */
export class SimulatedPostgres {
  readonly rows: Row[] = [];
  /** A crash undid them, and they may have been sent before. */
  readonly undone: Row[] = [];
  readonly running = new Map<bigint, Transaction>();
  readonly memberships = new SimulatedMemberships();
  readonly presence = new SimulatedPresence();
  lease: LeaseRow | null = null;
  /** Holds the doorbell's lock. */
  doorbell: Backend | null = null;
  /** So does somebody who is no relay, or wants to. */
  strangerHasDoorbell = false;
  readonly backends = new Set<Backend>();
  readonly listeners = new Set<(channel: 'event' | 'control') => void>();
  /** No commit of a writer is flushed at once. */
  flushesLate = false;
  cursor: CursorRow;
  installation = { id: tag(1), floor: 0n, refetchBeforeMs: Number.NEGATIVE_INFINITY };
  /** Called with each commit of the cursor, once it is made. */
  committed: (row: CursorRow) => void = () => undefined;
  /** Called with each event that becomes visible. */
  appeared: (row: Row) => void = () => undefined;
  readonly #time: VirtualTime;
  #nextXid = FIRST_XID;
  #nextId = 1n;
  #installations = 1;
  #commits = 0;
  readonly #aborted = new Set<bigint>();
  /** Committed, and not on disk. */
  readonly #unflushed = new Set<bigint>();
  /** Ids from here on are handed out again after a crash. */
  #flushedXid = FIRST_XID;

  constructor(time: VirtualTime) {
    this.#time = time;
    const { text } = this.snapshot();
    this.cursor = {
      installation: this.installation.id,
      snapshot: text,
      until: null,
      after_id: null,
      through_id: null,
      delivered: text,
      exceptions: '{}',
      commits: 0,
      term: 0,
      served_until: 0,
      served_snapshot: text,
    };
  }

  /** As pg_current_snapshot(): xmax is one past the latest transaction that is over. */
  snapshot(): Snapshot {
    let xmax = this.#nextXid;
    while (this.running.has(xmax - 1n)) xmax--;
    const xip = [...this.running.keys()]
      .filter((xid) => xid < xmax)
      .sort((a, b) => (a < b ? -1 : 1));
    return new Snapshot(xip[0] ?? xmax, xmax, xip);
  }

  /** Rows of transactions that are committed, those that retention has removed included. */
  committedRows(): Row[] {
    return this.rows.filter(({ xid }) => !this.running.has(xid) && !this.#aborted.has(xid));
  }

  /** Committed rows that a statement sees now. */
  visible(): Row[] {
    return this.committedRows().filter(({ removed }) => !removed);
  }

  /** A transaction that the snapshot sees and that a crash would undo now. */
  undoable(snapshot: Snapshot): bigint | undefined {
    return [...this.#unflushed].find((xid) => snapshot.sees(xid));
  }

  begin(): Transaction {
    const xid = this.#nextXid++;
    const transaction = { xid, rows: [], changes: [], sharesDoorbell: false, rings: false };
    this.running.set(xid, transaction);
    return transaction;
  }

  /** The capture trigger: appends to the log, and rings where the relay may be asleep. */
  write(
    transaction: Transaction,
    key: string,
    audience: readonly string[],
    kind: { isDisconnect?: true; isMembers?: true } = {},
  ): Row {
    const row: Row = {
      ...kind,
      id: this.#nextId++,
      xid: transaction.xid,
      key,
      audience,
      occurredMs: this.#time.epochMs,
    };
    this.rows.push(row);
    transaction.rows.push(row);
    if (!this.doorbell && !this.strangerHasDoorbell) transaction.sharesDoorbell = true;
    else if (!this.lease || this.lease.quietUntil <= this.#time.now) transaction.rings = true;
    return row;
  }

  /**
   * A row of the application's table comes or goes. @returns the change; null where another
   * transaction has the row locked
   */
  changeMembership(transaction: Transaction, userId: string): MembershipChange | null {
    const isOf = (change: MembershipChange) => change.userId === userId;
    for (const { xid, changes } of this.running.values())
      if (xid !== transaction.xid && changes.some(isOf)) return null;
    const joins = !this.memberships.isIn(userId, transaction.changes);
    const id = this.#nextId++;
    const { xid } = transaction;
    const change = { id, xid, userId, joins, after: '', committedAt: 0, commit: 0 };
    transaction.changes.push(change);
    return change;
  }

  /** A deferred trigger appends the event of the membership changes. */
  #appendMembershipEvent(transaction: Transaction): void {
    if (transaction.changes.length === 0) return;
    const after = this.snapshot().text;
    for (const change of transaction.changes) change.after = after;
    this.write(transaction, 'none', [], { isMembers: true });
  }

  commit(transaction: Transaction): void {
    if (!this.running.has(transaction.xid)) return;
    this.#appendMembershipEvent(transaction);
    this.running.delete(transaction.xid);
    const commit = ++this.#commits;
    const committedAt = this.#time.now;
    const changes = [...transaction.changes];
    for (const row of transaction.rows) {
      while (changes[0] && changes[0].id < row.id)
        this.memberships.committed(
          Object.assign(changes.shift() as MembershipChange, { committedAt, commit }),
        );
      Object.assign(row, { committedAt, commit, members: this.memberships.members() });
      this.appeared(row);
    }
    this.#unflushed.add(transaction.xid);
    // With synchronous_commit off a transaction is visible before it is on disk.
    if (!this.flushesLate && this.#time.chance(0.5)) this.flush();
    if (transaction.rings) this.notify('event');
  }

  rollback(transaction: Transaction): void {
    if (this.running.delete(transaction.xid)) this.#aborted.add(transaction.xid);
  }

  /** Everything that is over is on disk. */
  flush(): void {
    this.#flushedXid = this.#nextXid;
    this.#unflushed.clear();
  }

  notify(channel: 'event' | 'control'): void {
    for (const listener of this.listeners) listener(channel);
  }

  get doorbellIsShared(): boolean {
    for (const { sharesDoorbell } of this.running.values()) if (sharesDoorbell) return true;
    return false;
  }

  /** rowcast.take_lease() */
  takeLease(backend: Backend): Record<string, unknown> {
    const { lease } = this;
    const answer = { standby: false, holder: null, term: null, silent_pid: null, ended: null };
    if (lease?.backend.alive && lease.until > this.#time.now) return answer;
    const isSilent = lease?.backend.alive ?? false;
    if (lease && isSilent) this.endBackend(lease.backend);
    const term = ++this.cursor.term;
    const [since, until] = [this.#time.now, this.#time.now + LEASE_MS];
    this.lease = { holder: `holder ${term}`, backend, since, until, quietUntil: 0 };
    this.#nextXid++;
    return {
      ...answer,
      holder: this.lease.holder,
      term: String(term),
      ...(isSilent ? { silent_pid: 1, ended: true, silent_seconds: 12 } : {}),
    };
  }

  /** rowcast.renew_lease() */
  renewLease(holder: string): boolean | null {
    const { lease } = this;
    if (lease?.holder !== holder) return null;
    lease.until = this.#time.now + LEASE_MS;
    if (this.strangerHasDoorbell) lease.quietUntil = this.#time.now + QUIET_MS;
    return lease.quietUntil > this.#time.now;
  }

  endBackend(backend: Backend): void {
    if (!backend.alive) return;
    backend.alive = false;
    this.backends.delete(backend);
    if (this.doorbell === backend) this.doorbell = null;
    backend.end();
  }

  /** The commit of a cursor takes an id of its own, and is flushed. */
  commitCursor(installation: string, term: string, change: Partial<CursorRow>): boolean {
    if (this.cursor.installation !== installation || String(this.cursor.term) !== term)
      return false;
    this.#nextXid++;
    this.cursor = { ...this.cursor, ...change, commits: this.cursor.commits + 1 };
    this.flush();
    this.committed(this.cursor);
    return true;
  }

  refetch(): void {
    this.voidCursors();
    this.notify('control');
  }

  /** An installation of its own, whose clients are to fetch again. */
  voidCursors(): void {
    const id = tag(++this.#installations);
    this.installation = { ...this.installation, id, refetchBeforeMs: this.#time.epochMs };
    this.cursor = {
      ...this.cursor,
      installation: id,
      served_until: 0,
      served_snapshot: this.cursor.snapshot,
      exceptions: '{}',
    };
    this.#nextXid++;
    this.flush();
  }

  /** rowcast.remove_old(): rows that are old and delivered, and rows that are too old anyway. */
  removeOld(keepMs: number, keepUndeliveredMs: number, batch: number) {
    const delivered = Snapshot.parse(this.cursor.delivered);
    let removed = 0;
    let undelivered = 0;
    let highest = 0n;
    for (const row of this.visible().slice(0, batch)) {
      const ageMs = this.#time.epochMs - row.occurredMs;
      const waits = !delivered.sees(row.xid);
      if (ageMs < keepUndeliveredMs && (waits || ageMs < keepMs)) continue;
      row.removed = true;
      removed++;
      if (waits) undelivered++;
      if (row.xid > highest) highest = row.xid;
    }
    if (highest >= this.installation.floor && removed > 0) this.installation.floor = highest + 1n;
    this.#nextXid++;
    if (undelivered > 0) this.voidCursors();
    return { removed, undelivered, floor: String(this.installation.floor) };
  }

  /**
   * All connections end. Transactions that were not flushed never were, and their ids come again.
   */
  crash(): readonly Row[] {
    for (const transaction of [...this.running.values()]) this.rollback(transaction);
    // Nobody ever sees the rows of an aborted transaction.
    for (const row of this.rows.filter(({ xid }) => this.#aborted.has(xid)))
      this.rows.splice(this.rows.indexOf(row), 1);
    const undone = this.rows.filter((row) => this.#unflushed.has(row.xid));
    for (const row of undone) this.rows.splice(this.rows.indexOf(row), 1);
    this.undone.push(...undone);
    this.memberships.undo(this.#unflushed);
    for (const xid of this.#unflushed) this.#aborted.add(xid);
    for (const xid of this.#aborted) if (xid >= this.#flushedXid) this.#aborted.delete(xid);
    this.#unflushed.clear();
    this.#nextXid = this.#flushedXid;
    for (const backend of [...this.backends]) this.endBackend(backend);
    // Their tables are unlogged.
    this.lease = null;
    this.presence.crash();
    return undone;
  }
}

function tag(n: number): string {
  return `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`;
}
