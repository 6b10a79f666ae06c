import type { Logger } from 'pino';
import { type Clock, pause, type Timer } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import { LimitedLog } from '../limited-log.ts';
import { Circuit } from './circuit.ts';
import type { Gateway, PostOutcome } from './gateway.ts';
import type { Lane, OutgoingFrame } from './lane.ts';
import { LaneQueue } from './lane-queue.ts';
import type { Payload } from './payload.ts';
import { PostRate } from './post-rate.ts';
import { nextStep } from './retry-policy.ts';

/** How often a relay that may not post checks whether it may. */
const HELD_POLL_MS = 100;

/**
 * Gives lanes their turns (lane-queue.ts): at most `maxPostsInFlight` posts at a time, paced by a
 * token bucket (post-rate.ts), one by one while the gateway is down (circuit.ts). A lane that waits
 * for a retry gives its turn up, so a slow or dead connection delays nobody else.
 */
export class PostScheduler {
  readonly #deps: PostSchedulerDeps;
  readonly #events: PostSchedulerEvents;
  readonly #log: LimitedLog;
  readonly #turns = new LaneQueue();
  readonly #rate: PostRate;
  readonly #circuit: Circuit;
  readonly #clock: Clock;
  #lastTurn: Promise<boolean> = Promise.resolve(true);
  #postsInFlight = 0;
  #pumpLater: Timer | undefined;
  #lastDeliveredAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(deps: PostSchedulerDeps, events: PostSchedulerEvents) {
    this.#deps = deps;
    this.#events = events;
    this.#clock = deps.clock;
    this.#log = new LimitedLog(deps.log, deps.clock);
    this.#circuit = new Circuit(deps.clock);
    this.#rate = new PostRate(deps.postsPerSecondLimit, deps.clock, events.paced);
  }

  get gatewayDown(): boolean {
    return this.#circuit.down;
  }

  /** Posts a second that are allowed now. */
  get postsPerSecond(): number {
    return this.#rate.perSecond;
  }

  /** A post that is asked for now starts now. */
  get isFree(): boolean {
    return this.#postsInFlight < this.#deps.maxPostsInFlight && this.#heldMs() === 0;
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
    lane.retry?.cancel();
    this.#makeReady(lane);
  }

  /**
   * Waits for a slot of the same quota, for a request that is not a post.
   * @returns false if the signal aborted first
   */
  turn(signal: AbortSignal): Promise<boolean> {
    const delayMs = () => (this.#deps.mayPost() ? this.#rate.delayMs() : HELD_POLL_MS);
    this.#lastTurn = this.#lastTurn.then(async () => {
      for (let waitMs = delayMs(); waitMs > 0 && !signal.aborted; waitMs = delayMs())
        await pause(this.#clock, waitMs, signal);
      if (signal.aborted) return false;
      this.#rate.take();
      return true;
    });
    return this.#lastTurn;
  }

  /** No post is started any more. */
  stop(): void {
    this.#stopped = true;
    this.#pumpLater?.cancel();
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
        this.#pumpLater?.cancel();
        this.#pumpLater = this.#clock.after(heldMs, () => this.pump());
        return;
      }
      const lane = this.#turns.next();
      if (!lane) return;
      void this.#post(lane);
    }
  }

  /**
   * How long no post may start: the lease is not certain, the gateway is down, or the rate is used
   * up.
   */
  #heldMs(): number {
    if (!this.#deps.mayPost()) return HELD_POLL_MS;
    if (this.#circuit.down) return this.#circuit.probeDelayMs();
    return this.#rate.delayMs();
  }

  async #post(lane: Lane): Promise<void> {
    lane.state = 'posting';
    this.#postsInFlight++;
    this.#rate.take();
    const startedAt = this.#clock.uptimeMs();
    const ageMs = lane.ageMs;
    const payload = lane.take(this.#deps.maxFrameBytes);
    const outcome = await this.#deps.gateway.post(lane.connection.connectionId, payload);
    this.#postsInFlight--;
    if (this.#stopped) return;
    this.#events.posted(lane.connection, outcome, this.#clock.uptimeMs() - startedAt, payload);
    if (outcome.kind === 'throttled') this.#rate.wasThrottled(lane.connection.connectionId);
    const change = this.#circuit.record(outcome);
    if (change) this.#events.gateway(change, outcome);
    // Where the connection was closed meanwhile, its frames are settled.
    if (lane.state === 'posting') this.#conclude(lane, outcome, ageMs);
    this.pump();
  }

  /** @param ageMs of the connection when the post was made: a frozen process reads answers late */
  #conclude(lane: Lane, outcome: PostOutcome, ageMs: number): void {
    const now = this.#clock.uptimeMs();
    if (outcome.kind === 'delivered') {
      this.#lastDeliveredAt = now;
      this.#advance(lane);
      return;
    }
    if (lane.failures++ === 0) lane.failingSince = now;
    const history = {
      ageMs,
      failures: lane.failures,
      failingForMs: now - lane.failingSince,
      deadlineMs: this.#deps.deliveryDeadlineMs,
      othersDelivered: this.#lastDeliveredAt > lane.failingSince,
      knownWithinMs: this.#deps.gateway.knownWithinMs,
    };
    const next = nextStep(outcome, history, this.#clock);
    switch (next.step) {
      case 'retry':
        this.#retryLater(lane, next.afterMs);
        break;
      case 'remove':
        this.#events.gone(lane.connection);
        break;
      case 'close':
        this.#log.log(
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
        this.#log.log(
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
    lane.retry = this.#clock.after(afterMs, () => {
      if (lane.state !== 'waiting') return;
      this.#makeReady(lane);
      this.pump();
    });
  }
}

/** Heard by the fan-out. */
export interface PostSchedulerEvents {
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

export interface PostSchedulerDeps {
  readonly clock: Clock;
  readonly gateway: Gateway;
  readonly log: Logger;
  /** False while it is not certain that this relay still leads. */
  mayPost(): boolean;
  readonly maxPostsInFlight: number;
  /** Below API Gateway's quota, which the account's other APIs share. */
  readonly postsPerSecondLimit: number;
  /** The largest batch. */
  readonly maxFrameBytes: number;
  /** How long one connection may fail while others are served. */
  readonly deliveryDeadlineMs: number;
}
