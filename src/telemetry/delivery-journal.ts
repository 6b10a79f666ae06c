import type { Connection } from '../connections/connection.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { Relay } from '../relay/relay.ts';

/** At 100 posts a second these reach back the ten minutes that are kept at most, at 1,000 one. */
const POSTS = 65_536;
const DISPATCHES = 65_536;
/** Ids of events that all of those posts name together: a batch names hundreds. */
const IDS = 400_000;
const KEEP_MS = 600_000;

/**
 * The last events in memory: how many connections each reached, and how each post ended. 8 MB
 * of numbers that are used again and again, and nothing is allocated for a post: objects would
 * survive until they are ten minutes old, and cost the collector a tenth of all (measured by `bench
 * catchup`). Ids are kept as numbers, exact up to 2^53.
 */
export class DeliveryJournal {
  readonly #posts = new Slots(POSTS);
  readonly #connections: Connection[] = [];
  readonly #outcomes: PostOutcome[] = [];
  readonly #tookMs = new Float32Array(POSTS);
  /** Where the ids of each post begin, counted from the first id ever, and how many they are. */
  readonly #firstId = new Float64Array(POSTS);
  readonly #idCount = new Uint32Array(POSTS);
  readonly #ids = new Float64Array(IDS);
  #idsWritten = 0;

  readonly #dispatches = new Slots(DISPATCHES);
  readonly #dispatched = new Float64Array(DISPATCHES);
  readonly #reached = new Uint32Array(DISPATCHES);
  readonly #known = new Uint32Array(DISPATCHES);
  readonly #joining = new Uint32Array(DISPATCHES);

  /** @param deps.known connections now */
  constructor(deps: { relay: Relay; known: () => number }) {
    deps.relay
      .on('dispatched', (eventId, _, reached) => {
        const slot = this.#dispatches.add();
        this.#dispatched[slot] = Number(eventId);
        this.#reached[slot] = reached;
        this.#known[slot] = deps.known();
        this.#joining[slot] = deps.relay.joining;
      })
      .on('posted', (connection, outcome, tookMs, { eventIds }) => {
        const slot = this.#posts.add();
        this.#connections[slot] = connection;
        this.#outcomes[slot] = outcome;
        this.#tookMs[slot] = tookMs;
        this.#firstId[slot] = this.#idsWritten;
        this.#idCount[slot] = eventIds.length;
        for (const id of eventIds) this.#ids[this.#idsWritten++ % IDS] = Number(id);
      });
  }

  /** From when on every post is still known, epoch ms. */
  get sinceMs(): number {
    let { sinceMs } = this.#posts;
    for (const { slot, atMs } of this.#posts.all()) {
      if (this.#hasIds(slot)) break;
      sinceMs = Math.max(sinceMs, atMs + 1);
    }
    return sinceMs;
  }

  /**
   * The times an event was given to live connections: once, unless a leader before did not finish.
   */
  dispatchesOf(eventId: string): Dispatch[] {
    const id = Number(eventId);
    return [...this.#dispatches.all()]
      .filter(({ slot }) => this.#dispatched[slot] === id)
      .map(({ slot, atMs }) => ({
        atMs,
        reached: this.#reached[slot] as number,
        connections: this.#known[slot] as number,
        joining: this.#joining[slot] as number,
      }));
  }

  /** The posts that carried an event, the oldest first. */
  *postsOf(eventId: string): Iterable<Post> {
    const id = Number(eventId);
    for (const { slot, atMs } of this.#posts.all()) {
      if (!this.#carries(slot, id)) continue;
      yield {
        atMs,
        connection: this.#connections[slot] as Connection,
        outcome: this.#outcomes[slot] as PostOutcome,
        tookMs: this.#tookMs[slot] as number,
        events: this.#idCount[slot] as number,
      };
    }
  }

  /** Posts by their outcome. @param sinceMs epoch ms */
  outcomesSince(sinceMs: number): Partial<Record<PostOutcome['kind'], number>> {
    const counts: Partial<Record<PostOutcome['kind'], number>> = {};
    for (const { slot, atMs } of this.#posts.all()) {
      if (atMs < sinceMs) continue;
      const { kind } = this.#outcomes[slot] as PostOutcome;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  }

  /** They have not been written over. */
  #hasIds(slot: number): boolean {
    return (this.#firstId[slot] as number) >= this.#idsWritten - IDS;
  }

  #carries(slot: number, id: number): boolean {
    if (!this.#hasIds(slot)) return false;
    const first = this.#firstId[slot] as number;
    for (let n = 0; n < (this.#idCount[slot] as number); n++)
      if (this.#ids[(first + n) % IDS] === id) return true;
    return false;
  }
}

export interface Dispatch {
  /** When it was given to the lanes, epoch ms. */
  readonly atMs: number;
  /** Live connections that it was for. */
  readonly reached: number;
  /** Connections that were known then. */
  readonly connections: number;
  /** Connections among them that were being replayed to, and get it that way. */
  readonly joining: number;
}

export interface Post {
  /** When it was answered, epoch ms. */
  readonly atMs: number;
  readonly connection: Connection;
  readonly outcome: PostOutcome;
  readonly tookMs: number;
  /** The events that it carried. */
  readonly events: number;
}

/** Slots that are used again, the oldest first, and when each was used last. */
class Slots {
  readonly #atMs: Float64Array;
  readonly #madeMs = Date.now();
  #added = 0;

  constructor(capacity: number) {
    this.#atMs = new Float64Array(capacity);
  }

  /** Entries from then on are still there. */
  get sinceMs(): number {
    const { length } = this.#atMs;
    // Others of the same millisecond may be gone.
    const oldestMs =
      this.#added > length ? (this.#atMs[this.#added % length] as number) + 1 : this.#madeMs;
    return Math.max(oldestMs, Date.now() - KEEP_MS);
  }

  /** @returns the slot to fill */
  add(): number {
    const slot = this.#added++ % this.#atMs.length;
    this.#atMs[slot] = Date.now();
    return slot;
  }

  /** The oldest first. */
  *all(): Iterable<{ slot: number; atMs: number }> {
    const { length } = this.#atMs;
    const oldestMs = Date.now() - KEEP_MS;
    for (let n = Math.max(0, this.#added - length); n < this.#added; n++) {
      const atMs = this.#atMs[n % length] as number;
      if (atMs >= oldestMs) yield { slot: n % length, atMs };
    }
  }
}
