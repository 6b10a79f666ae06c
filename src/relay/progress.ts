import type { Clock } from '../clock.ts';
import type { CommittedCursor } from '../log/cursor-store.ts';
import { dispatchedUpTo, type Position } from '../log/event-log.ts';
import type { Snapshot } from '../log/snapshot.ts';

/** While rows are read and none is settled, clients' cursors are brought up to date this often. */
const DURABLE_WITHIN_MS = 250;

/**
 * How far a leader has come. Nothing else commits the cursor.
 *
 *     read ──▶ settled (delivered in order to everybody who is live) ──▶ committed ──▶ durable
 *
 * One commit runs at a time, of what is settled when it begins. A commit is flushed to disk, and
 * with it every transaction that was read before it began: `durable`. Only such a place may be a
 * client's cursor, because a crash of Postgres undoes transactions and hands their ids out again.
 */
export class Progress {
  readonly #deps: ProgressDeps;
  #settled: Position;
  #committed: Position;
  #durable: Snapshot;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #begunAt = Number.NEGATIVE_INFINITY;

  constructor(deps: ProgressDeps) {
    this.#deps = deps;
    this.#settled = deps.start;
    this.#committed = deps.start;
    this.#durable = deps.start.snapshot;
  }

  get committed(): Position {
    return this.#committed;
  }

  /** Pages up to there are delivered. */
  settled(position: Position): void {
    this.#settled = position;
    void this.commit();
  }

  /** A page was handed to delivery. */
  read(): void {
    if (this.#deps.clock.uptimeMs() - this.#begunAt > DURABLE_WITHIN_MS) void this.commit();
  }

  /** The latest place that a crash of Postgres cannot undo and that is not after `place`. */
  durable(place: Snapshot): Snapshot {
    return this.#durable.isWithin(place) ? this.#durable : place;
  }

  /**
   * Resolves once a commit that began after the call is made.
   * @throws when the lease or the database is lost; `fail` has heard of it
   */
  commit(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#write();
      return this.#running;
    });
    this.#next.catch((error: unknown) => this.#deps.fail(error));
    return this.#next;
  }

  async #write(): Promise<void> {
    this.#begunAt = this.#deps.clock.uptimeMs();
    const readUpTo = this.#deps.readUpTo();
    // Windows without a row are not given to delivery.
    if (this.#deps.isIdle()) this.#settled = readUpTo;
    const row = this.#deps.record(this.#settled);
    await this.#deps.write(row);
    this.#committed = row.position;
    this.#durable = dispatchedUpTo(readUpTo);
    this.#deps.committed(row);
  }
}

export interface ProgressDeps {
  readonly clock: Clock;
  readonly start: Position;
  /** How far the log was read and handed to delivery. */
  readUpTo(): Position;
  /** Everything that was read is settled. */
  isIdle(): boolean;
  /** Makes the cursor's row. */
  record(settled: Position): CommittedCursor;
  write(row: CommittedCursor): Promise<void>;
  committed(row: CommittedCursor): void;
  /** The lease or the database is lost. */
  fail(error: unknown): void;
}
