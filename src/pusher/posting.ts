import type { Logger } from 'pino';
import { pause } from '../backoff.ts';
import type { Connection } from '../connections/connection.ts';
import { LimitedLog } from '../limited-log.ts';
import type { Gateway } from '../pusher/gateway.ts';
import { Circuit } from './circuit.ts';
import type { PostOutcome } from './gateway.ts';
import type { Lane, OutgoingFrame } from './lane.ts';
import type { Payload } from './payload.ts';
import { nextStep } from './retry-policy.ts';
import { Throttle } from './throttle.ts';
import { Turns } from './turns.ts';

/** How often a relay that may not post looks whether it may. */
const HELD_POLL_MS = 100;

/**
 * Gives lanes with something to send their turns (turns.ts), for at most `maxPostsInFlight` posts at a time, paced by a
 * token bucket (throttle.ts), probed one by one while the gateway is down (circuit.ts). A lane that must wait for a
 * retry gives its turn up, so a slow or dead connection delays nobody else.
 */
export class Posting {
  readonly #deps: PostingDeps;
  readonly #events: PostingEvents;
  readonly #log: LimitedLog;
  readonly #turns = new Turns();
  readonly #throttle: Throttle;
  readonly #circuit = new Circuit();
  #lastTurn: Promise<boolean> = Promise.resolve(true);
  #postsInFlight = 0;
  #pumpLater: NodeJS.Timeout | undefined;
  #lastDeliveredAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(deps: PostingDeps, events: PostingEvents) {
    this.#deps = deps;
    this.#events = events;
    this.#log = new LimitedLog(deps.log);
    this.#throttle = new Throttle(deps.postsPerSecondLimit, events.paced);
  }

  get gatewayDown(): boolean {
    return this.#circuit.down;
  }

  /** Allowed now. */
  get postsPerSecond(): number {
    return this.#throttle.rate;
  }

  enqueue(lane: Lane, frame: OutgoingFrame): void {
    const wasUrgent = lane.urgent;
    lane.enqueue(frame);
    if (lane.state === 'idle') this.#makeReady(lane);
    else if (lane.state === 'ready' && lane.urgent && !wasUrgent) this.#turns.promote(lane);
  }

  /** A retry that is due later is due now. */
  retryNow(lane: Lane): void {
    if (lane.state !== 'waiting') return;
    clearTimeout(lane.retry);
    this.#makeReady(lane);
  }

  /** Resolves with true when a request that is no post may start: it counts against the same quota. With false when the signal aborts. */
  turn(signal: AbortSignal): Promise<boolean> {
    const delayMs = () => (this.#deps.mayPost() ? this.#throttle.delayMs() : HELD_POLL_MS);
    this.#lastTurn = this.#lastTurn.then(async () => {
      for (let waitMs = delayMs(); waitMs > 0 && !signal.aborted; waitMs = delayMs())
        await pause(waitMs, signal);
      if (signal.aborted) return false;
      this.#throttle.take();
      return true;
    });
    return this.#lastTurn;
  }

  /** No post is started any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#pumpLater);
  }

  #makeReady(lane: Lane): void {
    lane.state = 'ready';
    this.#turns.push(lane);
  }

  /** Starts as many posts as may be started now. */
  pump(): void {
    while (!this.#stopped && this.#postsInFlight < this.#deps.maxPostsInFlight) {
      // A post in flight is the probe; its answer pumps again.
      if (this.#circuit.down && this.#postsInFlight > 0) return;
      const heldMs = this.#heldMs();
      if (heldMs > 0) {
        clearTimeout(this.#pumpLater);
        this.#pumpLater = setTimeout(() => this.pump(), heldMs);
        return;
      }
      const lane = this.#turns.next();
      if (!lane) return;
      void this.#post(lane);
    }
  }

  /** How long no post may start: not ours to deliver, the gateway is down, or the rate is used up. */
  #heldMs(): number {
    if (!this.#deps.mayPost()) return HELD_POLL_MS;
    if (this.#circuit.down) return this.#circuit.probeDelayMs();
    return this.#throttle.delayMs();
  }

  async #post(lane: Lane): Promise<void> {
    lane.state = 'posting';
    this.#postsInFlight++;
    this.#throttle.take();
    const startedAt = performance.now();
    const ageMs = lane.ageMs;
    const payload = lane.take(this.#deps.maxFrameBytes);
    const outcome = await this.#deps.gateway.post(lane.connection.connectionId, payload);
    this.#postsInFlight--;
    if (this.#stopped) return;
    this.#events.posted(lane.connection, outcome, performance.now() - startedAt, payload);
    if (outcome.kind === 'throttled') this.#throttle.throttled(lane.connection.connectionId);
    const change = this.#circuit.record(outcome);
    if (change) this.#events.gateway(change, outcome);
    // The connection may have been closed meanwhile; its frames are settled then.
    if (lane.state === 'posting') this.#conclude(lane, outcome, ageMs);
    this.pump();
  }

  /** @param ageMs when the post was made: an answer may have waited in a frozen process */
  #conclude(lane: Lane, outcome: PostOutcome, ageMs: number): void {
    const now = performance.now();
    if (outcome.kind === 'delivered') {
      this.#lastDeliveredAt = now;
      this.#advance(lane);
      return;
    }
    if (lane.failures++ === 0) lane.failingSince = now;
    const next = nextStep(outcome, {
      ageMs,
      failures: lane.failures,
      failingForMs: now - lane.failingSince,
      deadlineMs: this.#deps.deliveryDeadlineMs,
      othersDelivered: this.#lastDeliveredAt > lane.failingSince,
    });
    switch (next.step) {
      case 'retry':
        this.#retryLater(lane, next.afterMs);
        break;
      case 'remove':
        this.#events.gone(lane.connection);
        break;
      case 'close':
        this.#log.line(
          'warn',
          'connection_closed',
          {
            event: 'connection_closed',
            connectionId: lane.connection.connectionId,
            waiting: lane.waiting,
            outcome,
          },
          'closing a connection that cannot be served; its client resumes by its cursor',
        );
        this.#events.unservable(lane.connection);
        break;
      case 'skip':
        if (lane.splitBatch()) {
          this.#makeReady(lane);
          break;
        }
        this.#log.line(
          'error',
          'frame_rejected',
          {
            event: 'frame_rejected',
            connectionId: lane.connection.connectionId,
            reason: next.reason,
          },
          'the gateway refuses this frame for good; leaving it out',
        );
        this.#advance(lane);
    }
  }

  #advance(lane: Lane): void {
    lane.failures = 0;
    lane.settleTaken();
    if (lane.waiting > 0) {
      this.#makeReady(lane);
      return;
    }
    lane.state = 'idle';
    if (lane.isApart) this.#events.drained(lane);
  }

  #retryLater(lane: Lane, afterMs: number): void {
    lane.state = 'waiting';
    lane.retry = setTimeout(() => {
      if (lane.state !== 'waiting') return;
      this.#makeReady(lane);
      this.pump();
    }, afterMs);
  }
}

/** What the owner of the lanes hears. */
export interface PostingEvents {
  posted(connection: Connection, outcome: PostOutcome, tookMs: number, payload: Payload): void;
  /** The rate was lowered, or is back at the limit. */
  paced(postsPerSecond: number): void;
  gateway(change: 'down' | 'up', outcome: PostOutcome): void;
  /** A lane that nobody waited for has nothing left. */
  drained(lane: Lane): void;
  /** The gateway says that the connection is over. */
  gone(connection: Connection): void;
  /** The connection fails while others are served. */
  unservable(connection: Connection): void;
}

export interface PostingDeps {
  readonly gateway: Gateway;
  readonly log: Logger;
  /** False while it is not certain that this relay still leads. */
  mayPost(): boolean;
  readonly maxPostsInFlight: number;
  /** Below API Gateway's quota, which the account's other APIs share. */
  readonly postsPerSecondLimit: number;
  /** What a batch may hold. */
  readonly maxFrameBytes: number;
  /** How long one connection may fail while others are served. */
  readonly deliveryDeadlineMs: number;
}
