import type { Logger } from 'pino';
import { type Clock, pause } from '../clock.ts';
import type { Emitter } from '../events.ts';
import type { SqlSession } from '../postgres/session.ts';

/** Rows that one statement removes: some 50 ms of work. */
const BATCH_ROWS = 5000;
/** Between two statements while there is more to remove. */
const BREATH_MS = 50;

/**
 * Keeps the log from growing: rows that were delivered go after `keep`. Rows that could not be
 * delivered hold out until `keepUndelivered`; then they go too, and every client hears that it has
 * to fetch again.
 *
 * Runs while a relay leads. Deleting old rows blocks no writer, and vacuum makes their space free
 * for new ones.
 */
export class Retention {
  readonly #deps: RetentionDeps;
  #floor: bigint;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    this.#floor = deps.floor;
  }

  /** Rows of transactions below may be gone. */
  get floor(): bigint {
    return this.#floor;
  }

  /**
   * Reads the floor anew: a former leader that was frozen may have removed rows since.
   * @throws when the database is lost
   */
  async readFloor(): Promise<void> {
    const [row] = await this.#deps.session.query<{ floor: string }>(
      'select floor::text from rowcast.installation',
      [],
      'read_floor',
    );
    if (row) this.#floor = BigInt(row.floor);
  }

  /**
   * Runs until the signal aborts.
   * @throws when the database is lost, and when clients have to be told of a loss
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const more = await this.#removeSome();
      await pause(this.#deps.clock, more ? BREATH_MS : this.#deps.settings.intervalMs, signal);
    }
  }

  /** @returns whether there is more to remove */
  async #removeSome(): Promise<boolean> {
    const { session, settings, log } = this.#deps;
    const [row] = await session.query<{ removed: number; undelivered: number; floor: string }>(
      'select removed, undelivered, floor::text from rowcast.remove_old($1::interval, $2::interval, $3)',
      [settings.keep, settings.keepUndelivered, BATCH_ROWS],
      'remove_old',
    );
    if (!row) return false;
    this.#floor = BigInt(row.floor);
    if (row.removed === 0) return false;
    if (row.undelivered > 0) {
      log.error(
        { event: 'events_lost', undelivered: row.undelivered, limit: settings.keepUndelivered },
        'removed events that could not be delivered in time; every client is told to fetch again',
      );
      this.#deps.events.emit('lost', row.undelivered);
    }
    this.#deps.events.emit('removed', row.removed);
    // The removal has voided all cursors: nothing may be committed any more.
    if (row.undelivered > 0) throw new Error('events were removed undelivered; starting over');
    return row.removed === BATCH_ROWS;
  }
}

export interface RetentionEvents {
  /** Rows that were removed. */
  removed: [rows: number];
  /** Rows among them that could not be delivered in time. */
  lost: [rows: number];
}

export interface RetentionDeps {
  readonly clock: Clock;
  readonly events: Emitter<RetentionEvents>;
  readonly session: SqlSession;
  readonly settings: RetentionSettings;
  /** As the last leader left it. */
  readonly floor: bigint;
  readonly log: Logger;
}

/** Intervals as Postgres reads them. */
export interface RetentionSettings {
  readonly keep: string;
  readonly keepUndelivered: string;
  readonly intervalMs: number;
}
