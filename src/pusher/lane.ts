import type { Connection } from '../connections/connection.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import { BATCH_OVERHEAD_BYTES } from '../protocol/frame.ts';
import { batchOf, COMMA_BYTES } from './batch.ts';
import type { Payload } from './payload.ts';

/**
 * What waits for one connection, in order. At most one post is in flight per connection: two would be
 * independent HTTP requests, and could arrive in either order.
 *
 * States: idle (nothing waits) → ready (queued for a post) → posting → idle, ready, or waiting (a retry is
 * due later). closed is final. Only Fanout and Posting change the state.
 */
export class Lane {
  readonly connection: Connection;
  state: 'idle' | 'ready' | 'posting' | 'waiting' | 'closed' = 'idle';
  /** Posts that failed in a row. */
  failures = 0;
  /** When the first of them failed, by performance.now(). */
  failingSince = 0;
  retry: NodeJS.Timeout | undefined;
  /** It gets what is dispatched; not so while its connection is being replayed to. */
  live = false;
  /**
   * It is so slow that nobody waits for it any more: what was dispatched is settled for it as it is enqueued, and goes out when it can.
   * Ends once everything has.
   */
  #apart = false;
  /** The current post carries several frames. */
  #batch = false;
  /** The gateway refused a batch: its frames go one by one, to leave out only the one it means. */
  #single = false;
  /** Frames are shared between lanes; a queue entry is one reference. Those before #head are done. */
  #frames: OutgoingFrame[] = [];
  #head = 0;
  /** Frames from #head on that the current post carries. */
  #taken = 0;
  /** Frames that wait and are addressed to some, not to all. */
  #direct = 0;
  #waitingBytes = 0;

  readonly #openedAt = performance.now();

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Since the connection was made. A clock that is wrong makes it older at most: it is known since the lane was opened. */
  get ageMs(): number {
    return Math.max(Date.now() - this.connection.connectedAt, performance.now() - this.#openedAt);
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

  /** Something waits that is not a broadcast: this lane goes first where posts are paced. */
  get urgent(): boolean {
    return this.#direct > 0;
  }

  enqueue(frame: OutgoingFrame): void {
    const own = this.#apart ? apart(frame) : frame;
    own.delivery.expect();
    this.#frames.push(own);
    this.#waitingBytes += own.payload.bytes.length;
    if (frame.direct) this.#direct++;
  }

  get isApart(): boolean {
    return this.#apart;
  }

  /** Of all that waits. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** From now on nobody waits for it. */
  setApart(): void {
    this.#apart = true;
    for (let i = this.#head; i < this.#frames.length; i++) {
      const frame = this.#frames[i] as OutgoingFrame;
      const own = apart(frame);
      if (own === frame) continue;
      own.delivery.expect();
      this.#frames[i] = own;
      frame.delivery.settle();
    }
  }

  /** Everything was delivered: it is as the others again. */
  rejoin(): void {
    this.#apart = false;
  }

  /** The next post: one frame, or for a batching client all events that wait, up to `maxBytes`. READY goes by itself. */
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

  /** @returns whether the refused post was a batch, and is to be tried frame by frame */
  splitBatch(): boolean {
    if (!this.#batch) return false;
    this.#single = true;
    return true;
  }

  /** The delivery of what has waited longest. */
  get oldest(): Delivery | undefined {
    return this.#frames[this.#head]?.delivery;
  }

  /** The same of what was dispatched, and not sent to this connection alone. */
  get oldestOfFeed(): Delivery | undefined {
    for (let i = this.#head; i < this.#frames.length; i++) {
      const delivery = this.#frames[i]?.delivery;
      if (delivery?.from) return delivery;
    }
    return undefined;
  }

  /** Drops what was dispatched and settles it; what was sent to this connection alone stays, in its order. */
  dropFeed(): void {
    const waiting = this.#frames.slice(this.#head);
    const isOwn = ({ delivery }: OutgoingFrame) => delivery.from === undefined;
    this.#taken = waiting.slice(0, this.#taken).filter(isOwn).length;
    this.#frames = waiting.filter(isOwn);
    this.#head = 0;
    for (const frame of waiting) {
      if (isOwn(frame)) continue;
      this.#waitingBytes -= frame.payload.bytes.length;
      if (frame.direct) this.#direct--;
      frame.delivery.settle();
    }
  }

  /** What the last post carried is settled: delivered, or left out for good. */
  settleTaken(): void {
    for (let i = 0; i < this.#taken; i++) {
      const frame = this.#frames[this.#head++] as OutgoingFrame;
      this.#waitingBytes -= frame.payload.bytes.length;
      if (frame.direct) this.#direct--;
      frame.delivery.settle();
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

  /** Nothing more will be sent: everything that waits is settled. */
  settleAll(): void {
    clearTimeout(this.retry);
    this.#taken = this.waiting;
    this.settleTaken();
  }
}

/** The same frame, for which nobody waits; one that was sent to its connection alone is waited for by that alone anyway. */
function apart(frame: OutgoingFrame): OutgoingFrame {
  return frame.delivery.from
    ? { ...frame, delivery: new Delivery(frame.delivery.from, frame.delivery.sequence) }
    : frame;
}

function isEvent({ payload }: OutgoingFrame): boolean {
  return payload.eventIds.length > 0;
}

/** A frame on its way to some connections; one object however many they are. */
export interface OutgoingFrame {
  readonly payload: Payload;
  readonly delivery: Delivery;
  /** Not for all. */
  readonly direct: boolean;
}

/** Counts what is still to be settled of some frames, for all the connections they go to. */
export class Delivery {
  static #count = 0;
  /** Grows with each. */
  readonly sequence: number;
  /** Where the window of these frames starts; unknown for what is not of the feed. */
  readonly from: CursorSnapshot | undefined;
  #pending = 0;
  #sealed = false;
  #resolve: () => void = () => undefined;
  /** Resolves once every frame is settled for every connection. */
  readonly done = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  constructor(from?: CursorSnapshot, sequence = Delivery.#count++) {
    this.from = from;
    this.sequence = sequence;
  }

  /** Frames that are not settled yet. */
  get pending(): number {
    return this.#pending;
  }

  expect(): void {
    this.#pending++;
  }

  settle(): void {
    this.#pending--;
    if (this.#sealed && this.#pending === 0) this.#resolve();
  }

  /** No more frames are added. */
  seal(): void {
    this.#sealed = true;
    if (this.#pending === 0) this.#resolve();
  }
}
