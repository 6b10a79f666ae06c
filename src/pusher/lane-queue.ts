import type { Lane } from './lane.ts';

/** While both kinds wait, one turn in so many goes to a broadcast, which must not starve. */
const BROADCAST_TURN = 8;

/** Turns that are over, at most, before the queue lets go of them. */
const KEPT_TURNS = 10_000;

/**
 * Lanes whose turn comes next: first in, first out, and lanes with a direct frame before others.
 */
export class LaneQueue {
  readonly #urgent = new Fifo();
  readonly #broadcast = new Fifo();
  #taken = 0;

  push(lane: Lane): void {
    (lane.urgent ? this.#urgent : this.#broadcast).push(lane);
  }

  /**
   * A lane that waits here has become urgent. It may come up twice; its state says that it had its
   * turn.
   */
  promote(lane: Lane): void {
    this.#urgent.push(lane);
  }

  /** Undefined when nobody waits. */
  next(): Lane | undefined {
    const [first, second] =
      ++this.#taken % BROADCAST_TURN === 0
        ? [this.#broadcast, this.#urgent]
        : [this.#urgent, this.#broadcast];
    return first.shift() ?? second.shift();
  }
}

/** Array.shift copies the rest, which with 10,000 lanes is most of the time. */
class Fifo {
  #lanes: Lane[] = [];
  #head = 0;

  push(lane: Lane): void {
    this.#lanes.push(lane);
  }

  /** Leaves out lanes that no longer wait. */
  shift(): Lane | undefined {
    while (this.#head < this.#lanes.length) {
      const lane = this.#lanes[this.#head++] as Lane;
      // Where posts are paced, somebody always waits: the queue is never empty.
      if (this.#head === this.#lanes.length || this.#head > KEPT_TURNS) {
        this.#lanes = this.#lanes.slice(this.#head);
        this.#head = 0;
      }
      if (lane.state === 'ready') return lane;
    }
    return undefined;
  }
}
