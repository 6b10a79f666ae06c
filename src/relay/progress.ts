import type { CommittedCursor } from '../log/cursor-store.ts';
import { endOf, type Position } from '../log/event-log.ts';
import type { Snapshot } from '../log/snapshot.ts';

/** The places of clients' cursors are brought up to date at least this often while rows are read and none is settled. */
const DURABLE_WITHIN_MS = 250;

/**
 * How far a term has come, and the only one that commits it:
 *
 *     read ──▶ settled (delivered in order to everybody who is live) ──▶ committed ──▶ durable
 *
 * One commit runs at a time, of what is settled when it begins. A commit is flushed to disk, and with it every transaction
 * that was read before it began: `durable`. Only such a place may be a client's cursor, because a crash of Postgres hands
 * out the ids of the transactions that it undoes once more.
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
    if (performance.now() - this.#begunAt > DURABLE_WITHIN_MS) void this.commit();
  }

  /** The latest place that a crash of Postgres cannot undo and that is not after `place`. */
  durable(place: Snapshot): Snapshot {
    return this.#durable.isWithin(place) ? this.#durable : place;
  }

  /** Resolves once a commit that began after the call is made. @throws when the lease or the database is lost; the term has heard of it */
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
    this.#begunAt = performance.now();
    const readUpTo = this.#deps.readUpTo();
    // Windows without a row are not given to delivery.
    if (this.#deps.isIdle()) this.#settled = readUpTo;
    const row = this.#deps.record(this.#settled);
    await this.#deps.write(row);
    this.#committed = row.position;
    this.#durable = endOf(readUpTo);
    this.#deps.committed(row);
  }
}

export interface ProgressDeps {
  readonly start: Position;
  /** How far the log was read and handed to delivery. */
  readUpTo(): Position;
  /** Everything that was read is settled. */
  isIdle(): boolean;
  /** What the cursor's row has to say. */
  record(settled: Position): CommittedCursor;
  write(row: CommittedCursor): Promise<void>;
  committed(row: CommittedCursor): void;
  /** The lease or the database is lost. */
  fail(error: unknown): void;
}
