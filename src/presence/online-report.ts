import type { Clock, Timer } from '../clock.ts';
import type { OnlineTable } from './online-table.ts';
import type { OnlineUser } from './online-user.ts';

/** Between two batches: a trigger that asks hears what was true a second ago at most. */
const INTERVAL_MS = 1000;

/**
 * Writes who is online to the database, in batches: those users who have changed since the last, or
 * everybody, where the table may hold what another relay has written.
 */
export class OnlineReport {
  readonly #deps: OnlineReportDeps;
  #changed = new Set<string>();
  #isWhole = false;
  #later: Timer | undefined;
  #isWriting = false;
  #stopped = false;

  constructor(deps: OnlineReportDeps) {
    this.#deps = deps;
  }

  /** The user came, left, or is in other rooms. */
  changed(userId: string): void {
    this.#changed.add(userId);
    this.#plan(INTERVAL_MS);
  }

  /** Everybody is named again. */
  beginAnew(): void {
    this.#isWhole = true;
    this.#later?.cancel();
    this.#later = undefined;
    this.#plan(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#later?.cancel();
  }

  #plan(inMs: number): void {
    if (this.#later || this.#isWriting || this.#stopped || !this.#deps.isWatched()) return;
    this.#later = this.#deps.clock.after(inMs, () => {
      this.#later = undefined;
      void this.#write();
    });
  }

  async #write(): Promise<void> {
    const [changed, isWhole] = [this.#changed, this.#isWhole];
    this.#changed = new Set();
    this.#isWhole = false;
    this.#isWriting = true;
    try {
      const { users, table } = this.#deps;
      const ids = new Set(isWhole ? [...users.keys(), ...(await table.userIds())] : changed);
      const online = [...ids].map((id) => users.get(id)).filter((user) => user !== undefined);
      const gone = [...ids].filter((id) => !users.has(id));
      await table.report(online.map(rowOf), gone, isWhole);
    } catch (error) {
      for (const userId of changed) this.#changed.add(userId);
      this.#isWhole ||= isWhole;
      if (!this.#stopped) this.#deps.failed(error);
    }
    this.#isWriting = false;
    if (this.#changed.size > 0 || this.#isWhole) this.#plan(INTERVAL_MS);
  }
}

function rowOf({ userId, rooms, connections, info }: OnlineUser) {
  return { userId, rooms: [...rooms], connections: connections.size, info };
}

export interface OnlineReportDeps {
  readonly clock: Clock;
  readonly table: OnlineTable;
  readonly users: ReadonlyMap<string, OnlineUser>;
  isWatched(): boolean;
  failed(error: unknown): void;
}
