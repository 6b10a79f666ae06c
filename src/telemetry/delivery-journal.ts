import type { Connection } from '../connections/connection.ts';
import type { PostOutcome } from '../pusher/post-outcome.ts';
import type { Relay } from '../relay.ts';

/** 65,536 posts are 3 MB; at 1,000 posts a second they reach back a minute, at 100 the ten minutes that are kept at most. */
const POSTS = 65_536;
const DISPATCHES = 16_384;
const KEEP_MS = 600_000;

/**
 * What became of the last events, in memory: whom each reached, and how each post ended. Bounded in number and time; nothing
 * is allocated for a post, since a broadcast makes ten thousand.
 */
export class DeliveryJournal {
  readonly #posts = new Ring(POSTS);
  readonly #dispatches = new Ring(DISPATCHES);
  readonly #connections: Connection[] = [];
  readonly #outcomes: PostOutcome[] = [];
  readonly #eventIds: (readonly string[])[] = [];
  readonly #tookMs = new Float32Array(POSTS);
  readonly #dispatched: Omit<Dispatch, 'atMs'>[] = [];

  /** @param deps.known connections now */
  constructor(deps: { relay: Relay; known: () => number }) {
    deps.relay
      .on('dispatched', (eventId, audience, reached) => {
        this.#dispatched[this.#dispatches.add()] = {
          eventId,
          audience,
          reached,
          connections: deps.known(),
          joining: deps.relay.joining,
        };
      })
      .on('posted', (connection, outcome, tookMs, { eventIds }) => {
        const slot = this.#posts.add();
        this.#connections[slot] = connection;
        this.#outcomes[slot] = outcome;
        this.#eventIds[slot] = eventIds;
        this.#tookMs[slot] = tookMs;
      });
  }

  /** The oldest moment of which everything is still known, epoch ms. */
  get sinceMs(): number {
    return Math.max(this.#posts.sinceMs, this.#dispatches.sinceMs, Date.now() - KEEP_MS);
  }

  /** The times an event was given to live connections: once, unless a relay before did not finish. */
  dispatchesOf(eventId: string): Dispatch[] {
    return [...this.#dispatches.slots(this.sinceMs)]
      .map(({ slot, atMs }) => ({ ...(this.#dispatched[slot] as Omit<Dispatch, 'atMs'>), atMs }))
      .filter((dispatch) => dispatch.eventId === eventId);
  }

  /** The posts that carried an event, the oldest first. */
  *postsOf(eventId: string): Iterable<Post> {
    for (const { slot, atMs } of this.#posts.slots(this.sinceMs)) {
      if (!this.#eventIds[slot]?.includes(eventId)) continue;
      yield {
        atMs,
        connection: this.#connections[slot] as Connection,
        outcome: this.#outcomes[slot] as PostOutcome,
        tookMs: this.#tookMs[slot] as number,
        events: (this.#eventIds[slot] as readonly string[]).length,
      };
    }
  }

  /** Posts since then by their outcome. @param sinceMs epoch ms */
  outcomesSince(sinceMs: number): Partial<Record<PostOutcome['kind'], number>> {
    const counts: Partial<Record<PostOutcome['kind'], number>> = {};
    for (const { slot } of this.#posts.slots(sinceMs)) {
      const { kind } = this.#outcomes[slot] as PostOutcome;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  }
}

export interface Dispatch {
  readonly eventId: string;
  /** When it was given to the lanes, epoch ms. */
  readonly atMs: number;
  readonly audience: readonly string[];
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
  /** That it carried. */
  readonly events: number;
}

/** Slots that are used again, the oldest first. */
class Ring {
  readonly #atMs: Float64Array;
  #added = 0;
  /** When the newest of those that were overwritten was added. */
  #overwrittenMs = 0;

  constructor(capacity: number) {
    this.#atMs = new Float64Array(capacity);
  }

  get sinceMs(): number {
    return this.#overwrittenMs;
  }

  /** @returns the slot to fill */
  add(): number {
    const slot = this.#added % this.#atMs.length;
    if (this.#added >= this.#atMs.length) this.#overwrittenMs = this.#atMs[slot] as number;
    this.#atMs[slot] = Date.now();
    this.#added++;
    return slot;
  }

  /** The oldest first. */
  *slots(sinceMs: number): Iterable<{ slot: number; atMs: number }> {
    const capacity = this.#atMs.length;
    for (let n = Math.max(0, this.#added - capacity); n < this.#added; n++) {
      const atMs = this.#atMs[n % capacity] as number;
      if (atMs >= sinceMs) yield { slot: n % capacity, atMs };
    }
  }
}
