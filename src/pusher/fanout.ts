import type { Clock } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { Emitter } from '../events.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import { AudienceIndex } from './audience-index.ts';
import type { AddressedEvent, FanoutEvents, FanoutOwner, FanoutState } from './fanout-owner.ts';
import type { PostOutcome } from './gateway.ts';
import { Lane, type OutgoingFrame } from './lane.ts';
import { Payload } from './payload.ts';
import { PostScheduler, type PostSchedulerDeps } from './post-scheduler.ts';
import { Settlement } from './settlement.ts';
import { SlowLanes } from './slow-lanes.ts';
import { SocketCloser } from './socket-closer.ts';

/** A queue holds a reference for each frame that waits. */
const WAITING_BYTES = 16;

/** A lane's oldest frame may hold up the cursor for this long, and with it a takeover's repeats. */
const SLOW_MS = 1000;

/** A connection that is to be closed has so long for what waits for it. */
const LAST_FRAMES_MS = 5000;

/**
 * Gives a frame to the connections of its audience, each through a lane of its own;
 * post-scheduler.ts gives the lanes their turns. A frame is settled for a connection when it was
 * delivered, when the gateway will never take it, or when the connection is over. Everything else
 * is tried again.
 */
export class Fanout {
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that get every frame of their audience; the others are still being replayed to. */
  readonly #live = new AudienceIndex<Lane>();
  #liveLanes = 0;
  readonly #slow: SlowLanes;
  readonly #clock: Clock;
  readonly #events: Emitter<FanoutEvents>;
  readonly #scheduler: PostScheduler;
  readonly #closer: SocketCloser;
  #owner: FanoutOwner | undefined;

  constructor(deps: FanoutDeps) {
    this.#slow = new SlowLanes({
      maxBytesInFlight: deps.maxBytesInFlight ?? 64_000_000,
      lag: (lane) => this.#owner?.lags(lane.connection),
      fallBehind: (lane) => this.#fallBehind(lane),
    });
    this.#clock = deps.clock;
    this.#events = deps.events;
    this.#scheduler = new PostScheduler(deps, {
      posted: (...post) => this.#events.emit('posted', ...post),
      paced: (postsPerSecond) => this.#events.emit('paced', postsPerSecond),
      gateway: (change, outcome) => this.#gatewayChanged(change, outcome),
      drained: (lane) => {
        lane.rejoin();
        this.#slow.remove(lane);
        this.#owner?.caughtUp(lane.connection);
      },
      gone: (connection) => {
        this.end(connection);
        this.#over(connection, 'gone');
      },
      unservable: (connection) => {
        this.#owner?.unservable(connection, this.#laneOf(connection)?.oldest?.windowStart);
        void this.close(connection);
      },
    });
    this.#closer = new SocketCloser({ ...deps, scheduler: this.#scheduler });
  }

  /** From now on the owner hears what becomes of connections. */
  reportTo(owner: FanoutOwner): void {
    this.#owner = owner;
  }

  /** Makes a lane that carries only what `send` gives it. */
  open(connection: Connection): void {
    this.#lanes.set(connection.connectionId, new Lane(connection, this.#clock));
  }

  /** From now on the connection gets what is dispatched. No-op for a connection that is over. */
  goLive(connection: Connection): void {
    const lane = this.#laneOf(connection);
    if (!lane || lane.live) return;
    lane.live = true;
    this.#liveLanes++;
    this.#live.add(connection, lane);
  }

  /**
   * Ends the connection's lane and settles whatever waits there.
   * @returns where the window of its oldest live frame starts; undefined where none waits
   */
  end(connection: Connection): CursorSnapshot | undefined {
    const lane = this.#laneOf(connection);
    if (!lane) return undefined;
    const waiting = lane.oldestLive?.windowStart;
    this.#lanes.delete(connection.connectionId);
    this.#slow.remove(lane);
    this.#leaveLive(lane);
    lane.state = 'closed';
    lane.settleAll();
    return waiting;
  }

  /**
   * Ends the lane and closes the socket. Until that is done the connection is not over, so that it
   * is not taken for a new one.
   */
  async close(connection: Connection): Promise<void> {
    this.end(connection);
    if (await this.#closer.close(connection)) this.#over(connection, 'closed');
  }

  #leaveLive(lane: Lane): void {
    if (!lane.live) return;
    lane.live = false;
    this.#liveLanes--;
    this.#live.remove(lane.connection, lane);
  }

  /** The connection has a lane. */
  has(connection: Connection): boolean {
    return this.#laneOf(connection) !== undefined;
  }

  /**
   * Sends each event to the live connections of its audience.
   * @param windowStart where the window of the events starts; undefined for frames of no event
   * @returns the bytes that queues hold for them, and when all is settled
   */
  dispatch(
    events: Iterable<AddressedEvent>,
    windowStart?: CursorSnapshot,
  ): { bytes: number; settled: Promise<void> } {
    const settlement = new Settlement(windowStart);
    for (const event of events) {
      const { id, audience } = event;
      const reached = event.closes
        ? this.#dismiss(event, windowStart)
        : this.#enqueue(event, settlement);
      if (id !== undefined) this.#events.emit('dispatched', id, audience, reached);
    }
    settlement.seal();
    this.#slow.dropExcess();
    const bytes = settlement.pending * WAITING_BYTES;
    this.#scheduler.pump();
    return { bytes, settled: settlement.done };
  }

  #enqueue(event: AddressedEvent, settlement: Settlement): number {
    let frame: OutgoingFrame | undefined;
    let reached = 0;
    for (const lane of this.#live.reach(event.audience)) {
      frame ??= { payload: payloadOf(event), settlement, direct: !event.audience.includes('all') };
      this.#scheduler.enqueue(lane, frame);
      reached++;
    }
    return reached;
  }

  /** Their last frame: what waits for them goes out before it, and nothing comes after. */
  #dismiss(event: AddressedEvent, windowStart: CursorSnapshot | undefined): number {
    const lanes = [...this.#live.reach(event.audience)].filter(({ connection }) =>
      event.closes?.(connection),
    );
    for (const lane of lanes) {
      const { connection, oldestLive } = lane;
      this.#leaveLive(lane);
      this.#owner?.unservable(connection, oldestLive?.windowStart ?? windowStart);
      this.closeAfter(connection, this.send(connection, [payloadOf(event)]));
    }
    return lanes.length;
  }

  /** Closes the socket once its last frames are settled, or after a moment. */
  closeAfter(connection: Connection, settled: Promise<void>): void {
    const close = () => {
      late.cancel();
      if (this.has(connection)) void this.close(connection);
    };
    const late = this.#clock.after(LAST_FRAMES_MS, close).unref();
    void settled.then(close);
  }

  /** Sends frames to one connection, live or not. @returns when all are settled */
  send(connection: Connection, payloads: readonly Payload[]): Promise<void> {
    const settlement = new Settlement();
    const lane = this.#laneOf(connection);
    if (lane)
      for (const payload of payloads)
        this.#scheduler.enqueue(lane, { payload, settlement, direct: false });
    settlement.seal();
    this.#scheduler.pump();
    return settlement.done;
  }

  /**
   * A frame that gives way to all others: taken only where nothing waits for a live connection, and
   * a post may start now.
   * @returns null where it is not taken; else when it is settled
   */
  offer(connection: Connection, payload: Payload): Promise<void> | null {
    const lane = this.#laneOf(connection);
    if (!lane?.live || lane.waiting > 0 || !this.#scheduler.isFree) return null;
    return this.send(connection, [payload]);
  }

  /**
   * Steps past slow lanes (slow-lanes.ts). Does nothing while the gateway is down.
   * @param waitedMs how long the oldest events have waited
   * @param isFull reading waits for room
   */
  passSlowest(waitedMs: number, isFull: boolean): void {
    if (this.#scheduler.gatewayDown || waitedMs < SLOW_MS) return;
    this.#slow.pass(this.#lanes, isFull);
  }

  /** Where the window of a connection's oldest live frame starts; undefined where none waits. */
  oldestLiveOf(connection: Connection): CursorSnapshot | undefined {
    return this.#laneOf(connection)?.oldestLive?.windowStart;
  }

  #fallBehind(lane: Lane): void {
    const { connection } = lane;
    const from = lane.oldestLive?.windowStart as CursorSnapshot;
    if (lane.oldest?.windowStart === undefined) {
      // Frames of its replay go out first.
      this.#leaveLive(lane);
      this.#slow.remove(lane);
      lane.dropLive();
      lane.rejoin();
    } else {
      this.end(connection);
      this.open(connection);
    }
    this.#owner?.fellBehind(connection, from);
  }

  /** Connections for which an event waits or is being posted. */
  waitingFor(eventId: string): Connection[] {
    return [...this.#lanes.values()]
      .filter((lane) => lane.holds(eventId))
      .map(({ connection }) => connection);
  }

  /** Connections that are being replayed to. */
  get joining(): number {
    return this.#lanes.size - this.#liveLanes;
  }

  /** How delivery stands now. */
  state(): FanoutState {
    let lanesWaiting = 0;
    for (const lane of this.#lanes.values()) if (lane.waiting > 0) lanesWaiting++;
    return {
      lanes: this.#lanes.size,
      joining: this.joining,
      lanesWaiting,
      gatewayDown: this.#scheduler.gatewayDown,
      postsPerSecond: this.#scheduler.postsPerSecond,
    };
  }

  /**
   * No post is started any more. Posts in flight end by themselves; what waits is not settled, and
   * so not committed.
   */
  stop(): void {
    this.#closer.stop();
    this.#scheduler.stop();
    for (const lane of this.#lanes.values()) lane.retry?.cancel();
  }

  /** Undefined too when the id now belongs to a later connection. */
  #laneOf(connection: Connection): Lane | undefined {
    const lane = this.#lanes.get(connection.connectionId);
    return lane?.connection === connection ? lane : undefined;
  }

  /** After an outage every lane tries at once: the outage made the pauses long. */
  #gatewayChanged(change: 'down' | 'up', outcome: PostOutcome): void {
    this.#events.emit('gateway', change, outcome);
    if (change === 'up') for (const lane of this.#lanes.values()) this.#scheduler.retryNow(lane);
  }

  #over(connection: Connection, why: 'gone' | 'closed'): void {
    this.#owner?.ended(connection);
    this.#events.emit('ended', connection, why);
  }
}

function payloadOf(event: AddressedEvent): Payload {
  return new Payload(event.encode(), event.id === undefined ? [] : [event.id]);
}

export interface FanoutDeps extends PostSchedulerDeps {
  readonly events: Emitter<FanoutEvents>;
  /** Events that are read and not delivered; 64 MB without it. */
  readonly maxBytesInFlight?: number;
}
