import type { Clock, Timer } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import { BATCH_OVERHEAD_BYTES } from '../protocol/frame.ts';
import { batchOf, COMMA_BYTES } from './batch.ts';
import type { Payload } from './payload.ts';
import { Settlement } from './settlement.ts';

/**
 * The frames that wait for one connection, in order. At most one post is in flight per connection:
 * two would be independent HTTP requests, and could arrive in either order.
 *
 *     idle (nothing waits) ─▶ ready (queued for a post) ─▶ posting ─▶ idle, ready or waiting (for a retry)
 *
 * `closed` is final. Only Fanout and PostScheduler change the state.
 */
export class Lane {
  readonly connection: Connection;
  state: 'idle' | 'ready' | 'posting' | 'waiting' | 'closed' = 'idle';
  /** Posts that failed in a row. */
  failures = 0;
  /** When the first of them failed, in uptime. */
  failingSince = 0;
  retry: Timer | undefined;
  /** It gets what is dispatched. False while its connection is being replayed to. */
  live = false;
  /**
   * Nobody waits for it, because it is slow: what is dispatched is settled as it is enqueued, and
   * goes out when it can. Ends once everything has.
   */
  #apart = false;
  /** The current post carries several frames. */
  #batch = false;
  /** The gateway refused a batch: its frames go one by one, to leave out only the refused one. */
  #single = false;
  /**
   * Frames are shared between lanes; a queue entry is one reference. Those before #head are done.
   */
  #frames: OutgoingFrame[] = [];
  #head = 0;
  /** Frames from #head on that the current post carries. */
  #taken = 0;
  /** Frames that wait and are not addressed to all. */
  #direct = 0;
  #waitingBytes = 0;

  readonly #clock: Clock;
  readonly #openedAt: number;

  constructor(connection: Connection, clock: Clock) {
    this.connection = connection;
    this.#clock = clock;
    this.#openedAt = clock.uptimeMs();
  }

  /** Since the connection was made. At least the age of the lane, however wrong a clock is. */
  get ageMs(): number {
    return Math.max(
      this.#clock.epochMs() - this.connection.connectedAt,
      this.#clock.uptimeMs() - this.#openedAt,
    );
  }

  get waiting(): number {
    return this.#frames.length - this.#head;
  }

  /** An event is among what waits. */
  holds(eventId: string): boolean {
    for (let i = this.#head; i < this.#frames.length; i++)
      if (this.#frames[i]?.payload.eventIds.includes(eventId)) return true;
    return false;
  }

  /** A direct frame waits: this lane goes before others where posts are paced. */
  get urgent(): boolean {
    return this.#direct > 0;
  }

  enqueue(frame: OutgoingFrame): void {
    const own = this.#apart ? apart(frame) : frame;
    own.settlement.expect();
    this.#frames.push(own);
    this.#waitingBytes += own.payload.bytes.length;
    if (frame.direct) this.#direct++;
  }

  get isApart(): boolean {
    return this.#apart;
  }

  /** Bytes of all frames that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** From now on nobody waits for this lane. */
  setApart(): void {
    this.#apart = true;
    for (let i = this.#head; i < this.#frames.length; i++) {
      const frame = this.#frames[i] as OutgoingFrame;
      const own = apart(frame);
      if (own === frame) continue;
      own.settlement.expect();
      this.#frames[i] = own;
      frame.settlement.settle();
    }
  }

  /** Everything was delivered: others wait for this lane again. */
  rejoin(): void {
    this.#apart = false;
  }

  /**
   * The body of the next post: one frame, or for a batching client all events that wait, up to
   * `maxBytes`. READY goes by itself.
   */
  take(maxBytes: number): Payload {
    const first = this.#frames[this.#head] as OutgoingFrame;
    this.#taken = 1;
    this.#batch = false;
    if (!this.connection.batch || this.#single || this.waiting === 1 || !isEvent(first))
      return first.payload;
    let bytes = BATCH_OVERHEAD_BYTES + first.payload.bytes.length;
    for (
      let next = this.#frames[this.#head + 1];
      next;
      next = this.#frames[this.#head + this.#taken]
    ) {
      bytes += COMMA_BYTES + next.payload.bytes.length;
      if (bytes > maxBytes || !isEvent(next)) break;
      this.#taken++;
    }
    this.#batch = this.#taken > 1;
    return this.#taken === 1
      ? first.payload
      : batchOf(this.#frames.slice(this.#head, this.#head + this.#taken));
  }

  /** @returns whether the refused post was a batch, whose frames are now tried one by one */
  splitBatch(): boolean {
    if (!this.#batch) return false;
    this.#single = true;
    return true;
  }

  /** The settlement of what has waited longest. */
  get oldest(): Settlement | undefined {
    return this.#frames[this.#head]?.settlement;
  }

  /** The same among live frames: those dispatched, not sent to this connection alone. */
  get oldestLive(): Settlement | undefined {
    for (let i = this.#head; i < this.#frames.length; i++) {
      const settlement = this.#frames[i]?.settlement;
      if (settlement?.windowStart) return settlement;
    }
    return undefined;
  }

  /** Drops and settles live frames. Frames sent to this connection alone stay, in order. */
  dropLive(): void {
    const waiting = this.#frames.slice(this.#head);
    const isOwn = ({ settlement }: OutgoingFrame) => settlement.windowStart === undefined;
    this.#taken = waiting.slice(0, this.#taken).filter(isOwn).length;
    this.#frames = waiting.filter(isOwn);
    this.#head = 0;
    for (const frame of waiting) {
      if (isOwn(frame)) continue;
      this.#waitingBytes -= frame.payload.bytes.length;
      if (frame.direct) this.#direct--;
      frame.settlement.settle();
    }
  }

  /** Settles the frames of the last post: they were delivered, or left out for good. */
  settleTaken(): void {
    for (let i = 0; i < this.#taken; i++) {
      const frame = this.#frames[this.#head++] as OutgoingFrame;
      this.#waitingBytes -= frame.payload.bytes.length;
      if (frame.direct) this.#direct--;
      frame.settlement.settle();
    }
    this.#taken = 0;
    if (this.#head === this.#frames.length) {
      this.#frames = [];
      this.#head = 0;
      this.#single = false;
    } else if (this.#head > 1024) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Settles everything that waits: nothing more will be sent. */
  settleAll(): void {
    this.retry?.cancel();
    this.#taken = this.waiting;
    this.settleTaken();
  }
}

/** The same frame, for which nobody waits. Only its own replay waits for a frame of a replay. */
function apart(frame: OutgoingFrame): OutgoingFrame {
  return frame.settlement.windowStart
    ? { ...frame, settlement: new Settlement(frame.settlement.windowStart, frame.settlement.order) }
    : frame;
}

function isEvent({ payload }: OutgoingFrame): boolean {
  return payload.eventIds.length > 0;
}

/** A frame on its way to some connections: one object however many they are. */
export interface OutgoingFrame {
  readonly payload: Payload;
  readonly settlement: Settlement;
  /** Not for all. */
  readonly direct: boolean;
}
