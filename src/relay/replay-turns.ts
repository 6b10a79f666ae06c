/** Reads of far groups at a time. */
const MAX_TURNS = 2;

/**
 * Turns of replays that read more than a page. They share what the near ones leave, fairly by user:
 * whoever had a turn last is the last to have one again, with however many connections.
 */
export class ReplayTurns {
  readonly #waiting: Waiting[] = [];
  /** When a user had a turn last, by a count of turns. Users who wait for none are forgotten. */
  readonly #lastOf = new Map<string, number>();
  #turns = 0;
  #running = 0;

  /** Resolves when it is the turn of one of these users. @returns to be called when it is over */
  take(userIds: Iterable<string>): Promise<() => void> {
    return new Promise((begin) => {
      this.#waiting.push({ userIds: new Set(userIds), begin });
      this.#next();
    });
  }

  #next(): void {
    if (this.#running === MAX_TURNS || this.#waiting.length === 0) return;
    let first = 0;
    for (let n = 1; n < this.#waiting.length; n++)
      if (this.#lastTurn(n) < this.#lastTurn(first)) first = n;
    const [{ userIds, begin }] = this.#waiting.splice(first, 1) as [Waiting];
    this.#running++;
    this.#turns++;
    for (const userId of userIds) this.#lastOf.set(userId, this.#turns);
    let isOver = false;
    begin(() => {
      if (isOver) return;
      isOver = true;
      this.#running--;
      if (this.#running === 0 && this.#waiting.length === 0) this.#lastOf.clear();
      this.#next();
    });
  }

  /** The longest ago of its users. */
  #lastTurn(n: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const userId of (this.#waiting[n] as Waiting).userIds)
      least = Math.min(least, this.#lastOf.get(userId) ?? 0);
    return least;
  }
}

interface Waiting {
  readonly userIds: ReadonlySet<string>;
  begin(end: () => void): void;
}
