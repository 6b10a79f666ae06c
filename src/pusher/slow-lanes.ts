import type { Lane } from './lane.ts';

/**
 * At most so many lanes lag, each with this part of the bytes that may be in flight. More is
 * dropped and read again.
 */
const MAX_LAGGING = 64;

/**
 * Keeps a few slow lanes from holding up the cursor, and with it a takeover's repeats. Slow lanes
 * hold the oldest events while most others are past those. From then on they lag, and nobody waits
 * for them. Where reading waits for room and a lane holds too much, it falls behind instead: its
 * live frames are dropped, and it goes on from the log.
 */
export class SlowLanes {
  readonly #lagging = new Set<Lane>();
  readonly #maxBytes: number;
  readonly #deps: SlowLanesDeps;

  constructor(deps: SlowLanesDeps) {
    this.#deps = deps;
    this.#maxBytes = deps.maxBytesInFlight / MAX_LAGGING;
  }

  /**
   * Lanes that only wait for their turn are left alone. So is everybody when all are equally slow.
   * @param isFull reading waits for room
   */
  pass(lanes: ReadonlyMap<string, Lane>, isFull: boolean): void {
    const slowest = this.#slowest(lanes.values());
    if (slowest.length * 2 > lanes.size) return;
    for (const lane of slowest) {
      const mayLag = this.#lagging.size < MAX_LAGGING && lane.waitingBytes <= this.#maxBytes;
      if (mayLag && lane.state !== 'ready') this.#setApart(lane);
      else if (isFull) this.#deps.fallBehind(lane);
    }
  }

  /** Lets lanes fall behind that hold too much. */
  dropExcess(): void {
    for (const lane of this.#lagging)
      if (lane.waitingBytes > this.#maxBytes) this.#deps.fallBehind(lane);
  }

  /** The lane has everything, fell behind or is over. */
  remove(lane: Lane): void {
    this.#lagging.delete(lane);
  }

  /** The lanes that hold the oldest events, without those that lag already. */
  #slowest(lanes: Iterable<Lane>): Lane[] {
    let oldest = Number.POSITIVE_INFINITY;
    let slowest: Lane[] = [];
    for (const lane of lanes) {
      if (lane.isApart) continue;
      const { order = Number.POSITIVE_INFINITY } = lane.oldestLive ?? {};
      if (order < oldest) {
        oldest = order;
        slowest = [];
      }
      if (order === oldest && lane.oldestLive) slowest.push(lane);
    }
    return slowest;
  }

  #setApart(lane: Lane): void {
    this.#lagging.add(lane);
    lane.setApart();
    this.#deps.lag(lane);
  }
}

export interface SlowLanesDeps {
  readonly maxBytesInFlight: number;
  lag(lane: Lane): void;
  fallBehind(lane: Lane): void;
}
