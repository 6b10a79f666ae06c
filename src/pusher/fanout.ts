import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs, pause } from '../backoff.ts';
import { AudienceIndex } from '../connections/audience-index.ts';
import type { Connection } from '../connections/connection.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import { Circuit } from './circuit.ts';
import type { Gateway } from './gateway-client.ts';
import { Delivery, Lane, type OutgoingFrame } from './lane.ts';
import type { PostOutcome } from './post-outcome.ts';
import { nextStep } from './retry-policy.ts';
import { Throttle } from './throttle.ts';
import { Turns } from './turns.ts';

/** What a queue holds for a frame that waits: a reference. */
const WAITING_BYTES = 16;

const CLOSE_RETRY: Backoff = { baseMs: 200, capMs: 5000 };

/** How often a relay that may not post looks whether it may. */
const HELD_POLL_MS = 100;

/**
 * From a frame to the connections of its audience, each through a lane of its own. Lanes with something to
 * send take turns (turns.ts) for at most `maxPostsInFlight` posts, paced by a token bucket (throttle.ts) and probed
 * one by one while the gateway is down (circuit.ts). A lane that must wait for a retry gives its turn up, so a slow or
 * dead connection delays nobody else.
 *
 * A frame is settled for a connection when it was delivered, when the gateway will never take it, or when
 * the connection is over. Everything else is tried again.
 */
export class Fanout extends EventEmitter<FanoutEvents> {
  readonly #deps: FanoutDeps;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that get every frame of their audience as it is dispatched; the others are still being replayed to. */
  readonly #live = new AudienceIndex<Lane>();
  readonly #turns = new Turns();
  readonly #throttle: Throttle;
  readonly #circuit = new Circuit();
  #postsInFlight = 0;
  #pumpLater: NodeJS.Timeout | undefined;
  #lastDeliveredAt = Number.NEGATIVE_INFINITY;
  readonly #abort = new AbortController();

  constructor(deps: FanoutDeps) {
    super();
    this.#deps = deps;
    this.#throttle = new Throttle(deps.postsPerSecondLimit);
  }

  /** Makes a lane that carries only what `send` gives it. */
  open(connection: Connection): void {
    this.#lanes.set(connection.connectionId, new Lane(connection));
  }

  /** From now on the connection gets what is dispatched. No-op for a connection that is over. */
  goLive(connection: Connection): void {
    const lane = this.#laneOf(connection);
    if (lane) this.#live.add(connection, lane);
  }

  /** The connection is over: whatever waits for it is settled. */
  close(connection: Connection): void {
    const lane = this.#laneOf(connection);
    if (!lane) return;
    this.#lanes.delete(connection.connectionId);
    this.#live.remove(connection, lane);
    lane.state = 'closed';
    lane.settleAll();
  }

  /** The connection is not over. */
  has(connection: Connection): boolean {
    return this.#laneOf(connection) !== undefined;
  }

  /**
   * Sends each event to the live connections of its audience.
   * @param from where the events' window starts
   * @returns what waits for it in queues, and when all is settled
   */
  dispatch(events: Iterable<AddressedEvent>, from?: CursorSnapshot): { bytes: number; settled: Promise<void> } {
    const delivery = new Delivery(from);
    for (const { audience, encode } of events) {
      let frame: OutgoingFrame | undefined;
      for (const lane of this.#live.reach(audience)) {
        frame ??= { payload: encode(), delivery, direct: !audience.includes('all') };
        this.#enqueue(lane, frame);
      }
    }
    delivery.seal();
    const bytes = delivery.pending * WAITING_BYTES;
    this.#pump();
    return { bytes, settled: delivery.done };
  }

  /** Sends frames to one connection, live or not. @returns when all are settled */
  send(connection: Connection, payloads: readonly Buffer[]): Promise<void> {
    const delivery = new Delivery();
    const lane = this.#laneOf(connection);
    if (lane) for (const payload of payloads) this.#enqueue(lane, { payload, delivery, direct: false });
    delivery.seal();
    this.#pump();
    return delivery.done;
  }

  /**
   * Reading has stopped because some lanes still hold the oldest events. Where most others are past those, the
   * few fall behind: what waits for them is dropped, and they go on from the log, at their own pace. Where
   * everybody is equally slow, or the gateway is down, reading has to wait.
   */
  shedSlowest(): void {
    if (this.#circuit.down) return;
    const waiting = [...this.#lanes.values()].filter((lane) => lane.oldest?.from);
    const oldest = Math.min(...waiting.map((lane) => lane.oldest?.sequence ?? Number.POSITIVE_INFINITY));
    const slowest = waiting.filter((lane) => lane.oldest?.sequence === oldest);
    if (slowest.length * 2 > this.#lanes.size) return;
    for (const lane of slowest) {
      const from = lane.oldest?.from as CursorSnapshot;
      this.close(lane.connection);
      this.open(lane.connection);
      this.emit('behind', lane.connection, from);
    }
  }

  /** No post is started any more. What is in flight ends by itself; what waits is not settled, and so not committed. */
  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#pumpLater);
    for (const lane of this.#lanes.values()) clearTimeout(lane.retry);
  }

  /** Undefined too when the id now belongs to a later connection. */
  #laneOf(connection: Connection): Lane | undefined {
    const lane = this.#lanes.get(connection.connectionId);
    return lane?.connection === connection ? lane : undefined;
  }

  #enqueue(lane: Lane, frame: OutgoingFrame): void {
    const wasUrgent = lane.urgent;
    frame.delivery.expect();
    lane.enqueue(frame);
    if (lane.state === 'idle') this.#makeReady(lane);
    else if (lane.state === 'ready' && lane.urgent && !wasUrgent) this.#turns.promote(lane);
  }

  #makeReady(lane: Lane): void {
    lane.state = 'ready';
    this.#turns.push(lane);
  }

  #pump(): void {
    while (!this.#abort.signal.aborted && this.#postsInFlight < this.#deps.maxPostsInFlight) {
      // A post in flight is the probe; its answer pumps again.
      if (this.#circuit.down && this.#postsInFlight > 0) return;
      const heldMs = this.#heldMs();
      if (heldMs > 0) {
        clearTimeout(this.#pumpLater);
        this.#pumpLater = setTimeout(() => this.#pump(), heldMs);
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
    const outcome = await this.#deps.gateway.post(lane.connection.connectionId, lane.take(this.#deps.maxFrameBytes));
    this.#postsInFlight--;
    if (this.#abort.signal.aborted) return;
    this.emit('posted', lane.connection, outcome);
    if (outcome.kind === 'throttled') this.#throttle.throttled(lane.connection.connectionId);
    this.#judgeGateway(outcome);
    // The connection may have been closed meanwhile; its frames are settled then.
    if (lane.state === 'posting') this.#conclude(lane, outcome);
    this.#pump();
  }

  #judgeGateway(outcome: PostOutcome): void {
    const change = this.#circuit.record(outcome);
    if (change) this.emit('gateway', change, outcome);
    if (change !== 'up') return;
    // Nobody waits out a retry that the outage made long.
    for (const lane of this.#lanes.values()) {
      if (lane.state !== 'waiting') continue;
      clearTimeout(lane.retry);
      this.#makeReady(lane);
    }
  }

  #conclude(lane: Lane, outcome: PostOutcome): void {
    const now = performance.now();
    if (outcome.kind === 'delivered') this.#lastDeliveredAt = now;
    else if (lane.failures++ === 0) lane.failingSince = now;
    const next = nextStep(outcome, {
      ageMs: Date.now() - lane.connection.connectedAt,
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
        this.close(lane.connection);
        this.emit('ended', lane.connection, 'gone');
        break;
      case 'close':
        this.#deps.log.warn(
          { event: 'connection_closed', connectionId: lane.connection.connectionId, waiting: lane.waiting, outcome },
          'closing a connection that cannot be served; its client resumes by its cursor',
        );
        this.close(lane.connection);
        void this.disconnect(lane.connection);
        break;
      case 'skip':
        if (lane.splitBatch()) {
          this.#makeReady(lane);
          break;
        }
        this.#deps.log.error(
          { event: 'frame_rejected', connectionId: lane.connection.connectionId, reason: next.reason },
          'the gateway refuses this frame for good; leaving it out',
        );
        this.#advance(lane);
        break;
      case 'advance':
        this.#advance(lane);
    }
  }

  #advance(lane: Lane): void {
    lane.failures = 0;
    lane.settleTaken();
    if (lane.waiting > 0) this.#makeReady(lane);
    else lane.state = 'idle';
  }

  #retryLater(lane: Lane, afterMs: number): void {
    lane.state = 'waiting';
    lane.retry = setTimeout(() => {
      if (lane.state !== 'waiting') return;
      this.#makeReady(lane);
      this.#pump();
    }, afterMs);
  }

  /**
   * Closes the connection at the gateway, however long that takes: a client whose lane is gone and whose socket
   * is open would be deaf and not know it. Until then the connection stays known, and is not taken for a new one.
   */
  async disconnect(connection: Connection): Promise<void> {
    this.close(connection);
    for (let failures = 1; !this.#abort.signal.aborted; failures++) {
      const { kind } = await this.#deps.gateway.close(connection.connectionId);
      if (kind === 'delivered' || kind === 'gone' || kind === 'rejected') {
        this.emit('ended', connection, 'closed');
        return;
      }
      await pause(backoffDelayMs(CLOSE_RETRY, failures), this.#abort.signal);
    }
  }
}

export interface FanoutEvents {
  /** A live connection fell behind: it has everything up to the snapshot, and its lane is open and empty. */
  behind: [Connection, CursorSnapshot];
  /** The gateway as a whole stopped answering, or answers again. */
  gateway: ['down' | 'up', PostOutcome];
  posted: [Connection, PostOutcome];
  /** The connection is over by the gateway's word (`gone`) or by ours (`closed`). */
  ended: [Connection, why: 'gone' | 'closed'];
}

export interface AddressedEvent {
  readonly audience: readonly string[];
  /** The frame in UTF-8; asked for once, and only when somebody is reached. */
  encode(): Buffer;
}

export interface FanoutDeps {
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
