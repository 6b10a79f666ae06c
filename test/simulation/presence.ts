/** As presence/online-table.ts sends it. */
interface OnlineRow {
  readonly user_id: string;
  readonly rooms: readonly string[];
}

/** Presence in a simulated Postgres: rooms that are watched, and rowcast.online. */
export class SimulatedPresence {
  watched: readonly string[] = [];
  /** Rooms by user. */
  readonly online = new Map<string, readonly string[]>();
  /** The term of the relay that has named everybody. */
  #term: string | null = null;

  /** rowcast.report_online(), of the term that holds the lease */
  report(term: string, came: string, gone: readonly string[], isWhole: boolean): void {
    for (const userId of gone) this.online.delete(userId);
    for (const { user_id, rooms } of JSON.parse(came) as OnlineRow[])
      this.online.set(user_id, rooms);
    if (isWhole) this.#term = term;
  }

  isKnownBy(term: string): boolean {
    return this.#term === term;
  }

  /** The table is unlogged. */
  crash(): void {
    this.online.clear();
    this.#term = null;
  }
}

/** `ann: blue, green; bob: blue`, in one order. */
export function shown(roomsOf: ReadonlyMap<string, readonly string[]>): string {
  const users = [...roomsOf].map(([user, rooms]) => `${user}: ${[...rooms].sort()}`);
  return users.sort().join('; ');
}
