import { EventEmitter } from 'node:events';
import type { Connection } from '../connections/connection.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import { AudienceIndex } from './audience-index.ts';
import { Closing } from './closing.ts';
import type { FanoutEvents, FanoutState } from './fanout-events.ts';
import type { PostOutcome } from './gateway.ts';
import { Delivery, Lane, type OutgoingFrame } from './lane.ts';
import { Payload } from './payload.ts';
import { Posting, type PostingDeps } from './posting.ts';

/** What a queue holds for a frame that waits: a reference. */
const WAITING_BYTES = 16;

/** Nobody waits longer for a lane's oldest frame: what it holds up, a relay that takes over would deliver again to all. */
const SLOW_MS = 1000;
/** So many lanes may hold what nobody waits for, each this part of what may be in flight: more is dropped and read again. */
const MAX_APART = 64;

/**
 * From a frame to the connections of its audience, each through a lane of its own; posting.ts gives the lanes their
 * turns. A frame is settled for a connection when it was delivered, when the gateway will never take it, or when the
 * connection is over. Everything else is tried again.
 */
export class Fanout extends EventEmitter<FanoutEvents> {
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that get every frame of their audience as it is dispatched; the others are still being replayed to. */
  readonly #live = new AudienceIndex<Lane>();
  #liveLanes = 0;
  readonly #apart = new Set<Lane>();
  readonly #maxApartBytes: number;
  readonly #posting: Posting;
  readonly #closing: Closing;

  constructor(deps: PostingDeps & { maxBytesInFlight?: number }) {
    super();
    this.#maxApartBytes = (deps.maxBytesInFlight ?? 64_000_000) / MAX_APART;
    this.#posting = new Posting(deps, {
      posted: (...post) => this.emit('posted', ...post),
      paced: (postsPerSecond) => this.emit('paced', postsPerSecond),
      gateway: (change, outcome) => this.#gatewayChanged(change, outcome),
      drained: (lane) => {
        lane.rejoin();
        this.#apart.delete(lane);
        this.emit('caughtUp', lane.connection);
      },
      gone: (connection) => {
        this.close(connection);
        this.emit('ended', connection, 'gone');
      },
      unservable: (connection) => {
        this.emit('unservable', connection, this.#laneOf(connection)?.oldest?.from);
        void this.disconnect(connection);
      },
    });
    this.#closing = new Closing({ ...deps, posting: this.#posting });
  }

  /** Makes a lane that carries only what `send` gives it. */
  open(connection: Connection): void {
    this.#lanes.set(connection.connectionId, new Lane(connection));
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
   * The connection is over: whatever waits for it is settled.
   * @returns where the window of the oldest event of it starts; undefined where none waits
   */
  close(connection: Connection): CursorSnapshot | undefined {
    const lane = this.#laneOf(connection);
    if (!lane) return undefined;
    const waiting = lane.oldestOfFeed?.from;
    this.#lanes.delete(connection.connectionId);
    this.#apart.delete(lane);
    this.#leaveLive(lane);
    lane.state = 'closed';
    lane.settleAll();
    return waiting;
  }

  #leaveLive(lane: Lane): void {
    if (!lane.live) return;
    lane.live = false;
    this.#liveLanes--;
    this.#live.remove(lane.connection, lane);
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
  dispatch(
    events: Iterable<AddressedEvent>,
    from?: CursorSnapshot,
  ): { bytes: number; settled: Promise<void> } {
    const delivery = new Delivery(from);
    for (const event of events) {
      const { id, audience } = event;
      let frame: OutgoingFrame | undefined;
      let reached = 0;
      for (const lane of this.#live.reach(audience)) {
        frame ??= {
          payload: new Payload(event.encode(), id === undefined ? [] : [id]),
          delivery,
          direct: !audience.includes('all'),
        };
        this.#posting.enqueue(lane, frame);
        reached++;
      }
      if (id !== undefined) this.emit('dispatched', id, audience, reached);
    }
    delivery.seal();
    for (const lane of this.#apart) if (lane.waitingBytes > this.#maxApartBytes) this.#shed(lane);
    const bytes = delivery.pending * WAITING_BYTES;
    this.#posting.pump();
    return { bytes, settled: delivery.done };
  }

  /** Sends frames to one connection, live or not. @returns when all are settled */
  send(connection: Connection, payloads: readonly Payload[]): Promise<void> {
    const delivery = new Delivery();
    const lane = this.#laneOf(connection);
    if (lane)
      for (const payload of payloads)
        this.#posting.enqueue(lane, { payload, delivery, direct: false });
    delivery.seal();
    this.#posting.pump();
    return delivery.done;
  }

  /**
   * Some lanes still hold the oldest events, and with them the cursor. Where most others are past those, nobody waits any more for the few
   * that are slow of themselves (those that only wait for their turn are not): they lag, with what waits for them. Where reading waits for
   * room and they hold too much, they fall behind: it is dropped, and they go on from the log, at their own pace. Where everybody is
   * equally slow, or the gateway is down, everything has to wait.
   * @param waitedMs how long the oldest events have waited
   * @param isFull reading waits for room
   */
  passSlowest(waitedMs: number, isFull: boolean): void {
    if (this.#posting.gatewayDown || waitedMs < SLOW_MS) return;
    const slowest = this.#slowest();
    if (slowest.length * 2 > this.#lanes.size) return;
    for (const lane of slowest) {
      const mayLag = this.#apart.size < MAX_APART && lane.waitingBytes <= this.#maxApartBytes;
      if (mayLag && lane.state !== 'ready') this.#setApart(lane);
      else if (isFull) this.#shed(lane);
    }
  }

  /** Of those that are waited for, the lanes that hold the oldest events. */
  #slowest(): Lane[] {
    let oldest = Number.POSITIVE_INFINITY;
    let slowest: Lane[] = [];
    for (const lane of this.#lanes.values()) {
      if (lane.isApart) continue;
      const { sequence = Number.POSITIVE_INFINITY } = lane.oldestOfFeed ?? {};
      if (sequence < oldest) {
        oldest = sequence;
        slowest = [];
      }
      if (sequence === oldest && lane.oldestOfFeed) slowest.push(lane);
    }
    return slowest;
  }

  #setApart(lane: Lane): void {
    this.#apart.add(lane);
    lane.setApart();
    this.emit('lagging', lane.connection);
  }

  /** Where the window of the oldest event that waits for a connection starts; undefined where none does. */
  oldestOf(connection: Connection): CursorSnapshot | undefined {
    return this.#laneOf(connection)?.oldestOfFeed?.from;
  }

  #shed(lane: Lane): void {
    const { connection } = lane;
    const from = lane.oldestOfFeed?.from as CursorSnapshot;
    if (lane.oldest?.from === undefined) {
      // What is left of its replay goes out first.
      this.#leaveLive(lane);
      this.#apart.delete(lane);
      lane.dropFeed();
      lane.rejoin();
    } else {
      this.close(connection);
      this.open(connection);
    }
    this.emit('behind', connection, from);
  }

  /** Connections for which an event still waits, or is being posted. */
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
      gatewayDown: this.#posting.gatewayDown,
      postsPerSecond: this.#posting.postsPerSecond,
    };
  }

  /** No post is started any more. What is in flight ends by itself; what waits is not settled, and so not committed. */
  stop(): void {
    this.#closing.stop();
    this.#posting.stop();
    for (const lane of this.#lanes.values()) clearTimeout(lane.retry);
  }

  /** Undefined too when the id now belongs to a later connection. */
  #laneOf(connection: Connection): Lane | undefined {
    const lane = this.#lanes.get(connection.connectionId);
    return lane?.connection === connection ? lane : undefined;
  }

  /** After an outage nobody waits out a retry that it made long. */
  #gatewayChanged(change: 'down' | 'up', outcome: PostOutcome): void {
    this.emit('gateway', change, outcome);
    if (change === 'up') for (const lane of this.#lanes.values()) this.#posting.retryNow(lane);
  }

  /** Settles what waits, and closes the socket. Until that is done the connection stays known, and is not taken for a new one. */
  async disconnect(connection: Connection): Promise<void> {
    this.close(connection);
    if (await this.#closing.close(connection)) this.emit('ended', connection, 'closed');
  }
}

export interface AddressedEvent {
  /** Of the log; a frame that is no event of it has none. */
  readonly id?: string;
  readonly audience: readonly string[];
  /** The frame in UTF-8; asked for once, and only when somebody is reached. */
  encode(): Buffer;
}
