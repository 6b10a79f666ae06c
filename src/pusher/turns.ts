import type { Lane } from './lane.ts';

/** Of the turns while both kinds wait, one in so many is a broadcast's: it must not starve. */
const BROADCAST_TURN = 8;

/** Turns that are over, at most, before the queue lets go of them. */
const KEPT_TURNS = 10_000;

/** The lanes whose turn comes next: first in, first out, those with something addressed to some before broadcasts. */
export class Turns {
  readonly #urgent = new LaneQueue();
  readonly #broadcast = new LaneQueue();
  #taken = 0;

  push(lane: Lane): void {
    (lane.urgent ? this.#urgent : this.#broadcast).push(lane);
  }

  /** A lane that waits here already has become urgent. It may come up twice; its state tells that it had its turn. */
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

/** Array.shift copies the rest; with 10,000 lanes that is most of the time. */
class LaneQueue {
  #lanes: Lane[] = [];
  #head = 0;

  push(lane: Lane): void {
    this.#lanes.push(lane);
  }

  /** Leaves out those that no longer wait. */
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
