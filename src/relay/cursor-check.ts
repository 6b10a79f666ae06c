import type { Logger } from 'pino';
import type { CursorStore, StoredCursor, UnusableCursor } from '../log/cursor-store.ts';

const COPY =
  'this database is a copy of the one Rowcast was installed in, and must not push to the clients of that one; if it has clients of its own, run: select rowcast.adopt()';
const EMPTY =
  'the schema rowcast was restored without its data; to install anew: drop schema rowcast cascade, then rowcast migrate up, and rowcast.watch() for each of your tables';

/**
 * Reads the committed cursor for a relay that is about to lead. Starts over where the database is
 * not the one that was delivered from, and refuses a copy, which must not push to the original's
 * clients.
 */
export class CursorCheck {
  readonly #log: Logger;
  #problem: string | null = null;
  /** The commits of the cursor when this relay made its last. */
  #made: { readonly installation: string; commits: number } | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Why the cursor cannot be used, where that needs an operator. */
  get problem(): string | null {
    return this.#problem;
  }

  /** This relay has committed the cursor. */
  committed(): void {
    if (this.#made) this.#made.commits++;
  }

  /**
   * @param hasConnections clients are connected that may have missed something
   * @returns null where an operator has to act
   */
  async read(cursor: CursorStore, hasConnections: boolean): Promise<StoredCursor | null> {
    const found = await cursor.read(hasConnections);
    const restarted = await this.#startOver(found, cursor);
    const stored = restarted ? await cursor.read(hasConnections) : found;
    if (stored.usable) {
      this.#problem = null;
      this.#made = { installation: stored.installation, commits: stored.commits };
      return stored;
    }
    const isEmpty = stored.reason === 'empty';
    this.#problem = isEmpty ? EMPTY : COPY;
    this.#log.error({ event: isEmpty ? 'database_empty' : 'database_copied' }, this.#problem);
    return null;
  }

  /** @returns whether the cursor is another one now */
  async #startOver(found: StoredCursor | UnusableCursor, cursor: CursorStore): Promise<boolean> {
    if (!found.usable && found.reason === 'void') {
      this.#log.error(
        { event: 'cursor_void' },
        'the cursor names transactions that this database never had; starting over from now, and clients are told to fetch again',
      );
      await cursor.adopt();
      return true;
    }
    if (!this.#isSetBack(found)) return false;
    this.#log.error(
      { event: 'database_set_back' },
      'the database is not the one that was delivered from: it was restored to an earlier moment, or a replica took over that may be missing its last transactions; clients are told to fetch again',
    );
    await cursor.refetch();
    return true;
  }

  /** This relay's commits are gone, or the database says of itself that it was replaced. */
  #isSetBack(found: StoredCursor | UnusableCursor): boolean {
    if (!found.usable) return found.reason === 'replaced';
    return found.installation === this.#made?.installation && found.commits < this.#made.commits;
  }
}
