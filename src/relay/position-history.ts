import type { Snapshot } from '../log/snapshot.ts';

/** The clocks of gateway and relay may differ by this much, and a replay begins this much early. */
export const CLOCK_MARGIN_MS = 2000;

/** Moments closer together than this are one: a replay that begins a little early only repeats. */
const RESOLUTION_MS = 250;

/**
 * Old moments are thinned out where nothing is committed for hours. A replay from between two of
 * them begins earlier.
 */
const MAX_MOMENTS = 10_000;

/**
 * Which transactions were over at a moment of the past: it turns "connected at" into a place in the
 * log. A row's own time would not do, since it says when the row was written and not when it was
 * committed.
 */
export class PositionHistory {
  #entries: Moment[];

  /** @param oldest nobody will ask for a moment before it */
  constructor(oldest: Moment) {
    this.#entries = [oldest];
  }

  /** @param snapshot taken no later than `atMs` (epoch ms) */
  record(atMs: number, snapshot: Snapshot): void {
    const last = this.#entries.at(-1);
    if (!last || atMs - last.atMs < RESOLUTION_MS || snapshot.text === last.snapshot.text) return;
    if (this.#entries.length === MAX_MOMENTS)
      this.#entries = this.#entries.filter((_, i) => i % 2 === 0);
    this.#entries.push({ atMs, snapshot });
  }

  /**
   * A snapshot that sees nothing that was committed after `atMs`. Where that moment was forgotten,
   * it is the oldest snapshot that is kept.
   */
  at(atMs: number): { snapshot: Snapshot; forgotten: boolean } {
    const found = this.#entries.findLast((entry) => entry.atMs <= atMs);
    return { snapshot: (found ?? this.#oldest).snapshot, forgotten: found === undefined };
  }

  /** Nobody will ask for a moment before `atMs` any more. */
  forgetBefore(atMs: number): void {
    const keep = this.#entries.findLastIndex((entry) => entry.atMs <= atMs);
    if (keep > 0) this.#entries.splice(0, keep);
  }

  get #oldest(): Moment {
    return this.#entries[0] as Moment;
  }
}

interface Moment {
  readonly atMs: number;
  readonly snapshot: Snapshot;
}
