import type { Connection } from '../connections/connection.ts';
import type { PostOutcome } from '../pusher/post-outcome.ts';
import type { Relay } from '../relay.ts';

/** At 100 posts a second these reach back the ten minutes that are kept at most, at 1,000 one. */
const POSTS = 65_536;
/** Ids that all of those posts name together: a batch names hundreds, 8 bytes each. */
const IDS = 400_000;
const DISPATCHES = 65_536;
const KEEP_MS = 600_000;

/**
 * What became of the last events, in memory: how many each reached, and how each post ended. Bounded in number and age, to 35 MB at
 * most (measured, where no id is in two posts); little is kept of a post, since a broadcast makes ten thousand, and nothing of its payload.
 */
export class DeliveryJournal {
  readonly #posts: Recent<Post>;
  readonly #dispatches: Recent<Dispatch>;

  /** @param deps.known connections now */
  constructor(deps: { relay: Relay; known: () => number }) {
    this.#posts = new Recent({ entries: POSTS, weight: IDS, weigh: ({ eventIds }) => eventIds.length });
    this.#dispatches = new Recent({ entries: DISPATCHES, weight: DISPATCHES, weigh: () => 1 });
    deps.relay
      .on('dispatched', (eventId, _, reached) =>
        this.#dispatches.add({
          atMs: Date.now(),
          eventId,
          reached,
          connections: deps.known(),
          joining: deps.relay.joining,
        }),
      )
      .on('posted', (connection, outcome, tookMs, { eventIds }) =>
        this.#posts.add({ atMs: Date.now(), connection, outcome, tookMs, eventIds }),
      );
  }

  /** From when on every post is still known, epoch ms. */
  get sinceMs(): number {
    return this.#posts.sinceMs;
  }

  /** The times an event was given to live connections: once, unless a term before did not finish. */
  dispatchesOf(eventId: string): Dispatch[] {
    return [...this.#dispatches.all()].filter((dispatch) => dispatch.eventId === eventId);
  }

  /** The posts that carried an event, the oldest first. */
  *postsOf(eventId: string): Iterable<Post> {
    for (const post of this.#posts.all()) if (post.eventIds.includes(eventId)) yield post;
  }

  /** Posts by their outcome. @param sinceMs epoch ms */
  outcomesSince(sinceMs: number): Partial<Record<PostOutcome['kind'], number>> {
    const counts: Partial<Record<PostOutcome['kind'], number>> = {};
    for (const { atMs, outcome } of this.#posts.all())
      if (atMs >= sinceMs) counts[outcome.kind] = (counts[outcome.kind] ?? 0) + 1;
    return counts;
  }
}

export interface Dispatch {
  readonly eventId: string;
  /** When it was given to the lanes, epoch ms. */
  readonly atMs: number;
  /** Live connections that it was for. */
  readonly reached: number;
  /** Connections that were known then. */
  readonly connections: number;
  /** Those among them that were being replayed to, and get it that way. */
  readonly joining: number;
}

export interface Post {
  /** When it was answered, epoch ms. */
  readonly atMs: number;
  readonly connection: Connection;
  readonly outcome: PostOutcome;
  readonly tookMs: number;
  readonly eventIds: readonly string[];
}

/** The newest of many, the oldest first: bounded by number, by weight and by age. */
class Recent<Entry extends { readonly atMs: number }> {
  readonly #limits: { readonly entries: number; readonly weight: number; weigh(entry: Entry): number };
  /** Slots are used again; those from #oldest to #next, modulo their number, are taken. */
  readonly #slots: (Entry | undefined)[];
  #oldest = 0;
  #next = 0;
  #weight = 0;
  #sinceMs = Date.now();

  constructor(limits: { entries: number; weight: number; weigh(entry: Entry): number }) {
    this.#limits = limits;
    this.#slots = new Array<Entry | undefined>(limits.entries);
  }

  /** What was added from then on is still here. */
  get sinceMs(): number {
    return Math.max(this.#sinceMs, Date.now() - KEEP_MS);
  }

  add(entry: Entry): void {
    const { entries, weight, weigh } = this.#limits;
    this.#weight += weigh(entry);
    while (
      this.#next - this.#oldest === entries ||
      (this.#oldest < this.#next && (this.#weight > weight || this.#tooOld(entry.atMs)))
    )
      this.#forgetOldest();
    this.#slots[this.#next++ % entries] = entry;
  }

  *all(): Iterable<Entry> {
    const oldestMs = Date.now() - KEEP_MS;
    for (let n = this.#oldest; n < this.#next; n++) {
      const entry = this.#slots[n % this.#limits.entries] as Entry;
      if (entry.atMs >= oldestMs) yield entry;
    }
  }

  #tooOld(nowMs: number): boolean {
    return (this.#slots[this.#oldest % this.#limits.entries] as Entry).atMs < nowMs - KEEP_MS;
  }

  #forgetOldest(): void {
    const slot = this.#oldest++ % this.#limits.entries;
    const entry = this.#slots[slot] as Entry;
    this.#slots[slot] = undefined;
    this.#weight -= this.#limits.weigh(entry);
    // Others of the same moment may be gone with it.
    this.#sinceMs = Math.max(this.#sinceMs, entry.atMs + 1);
  }
}
