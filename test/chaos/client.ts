import { setTimeout } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Presence } from '../../src/client/presence.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { parseCursor } from '../../src/protocol/cursor.ts';
import { type Frame, TestClient } from '../support/client/client.ts';
import { isOrdered, type Ledger, type ReceivingClient, ROOM_ON_SOCKET } from './ledger.ts';
import type { Stay } from './memberships.ts';

/** A client that is cut off again and again and comes back with its cursor, as a good one does. */
export class ChaosClient implements ReceivingClient {
  readonly name: string;
  readonly terms: ReadonlySet<string>;
  readonly stays: readonly Stay[];
  readonly joins: boolean;
  readonly received: string[] = [];
  repeats = 0;
  readyAt = Number.POSITIVE_INFINITY;
  /** How often it was told that the log does not reach back to its cursor. */
  unrecovered = 0;
  readonly stale: string[] = [];
  readonly #ledger: Ledger;
  readonly #url: string;
  readonly #seen = new Set<string>();
  readonly #random: () => number;
  readonly #rooms: readonly string[];
  readonly #presence = new Presence(() => this.#send(this.rooms));
  /** It has asked for these last. */
  rooms: readonly string[];
  #cursor: string | undefined;
  #socket: TestClient | undefined;
  #stopping = false;
  #steady = false;

  constructor(options: ChaosClientOptions) {
    this.name = options.name;
    this.stays = options.stays;
    this.#rooms = options.rooms;
    this.rooms = options.rooms;
    this.terms = new Set([
      'all',
      `user:${options.name}`,
      ...options.rooms.map((room) => `room:${room}`),
    ]);
    this.joins = options.joins;
    const query = new URLSearchParams({
      userId: options.name,
      rooms: options.rooms.join(','),
      batch: options.batch ? '1' : '0',
    });
    this.#url = `${options.url}?${query}`;
    this.#random = options.random;
    this.#ledger = options.ledger;
  }

  /** Connects, stays for a while, goes, and comes back, until it is stopped. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      const socket = new TestClient(
        this.#cursor ? `${this.#url}&cursor=${encodeURIComponent(this.#cursor)}` : this.#url,
      );
      this.#socket = socket;
      this.rooms = this.#rooms;
      socket.onFrame = (frame) => this.#receive(frame);
      const closed = new Promise<void>((resolve) => socket.socket.once('close', () => resolve()));
      const stay = this.#steady
        ? closed
        : Promise.race([closed, setTimeout(1000 + this.#random() * 6000)]);
      const asking = this.joins ? this.#ask(stay) : undefined;
      await stay;
      await asking;
      if (!this.#steady || this.#stopping) socket.socket.terminate();
      await closed;
      await setTimeout(this.#random() * 1000);
    }
  }

  /** Joins a room on the open socket and leaves it, again and again; its other rooms stay. */
  async #ask(stay: Promise<unknown>): Promise<void> {
    let isOver = false;
    void stay.then(() => {
      isOver = true;
    });
    while (!isOver && !this.#steady) {
      await setTimeout(100 + this.#random() * 900);
      this.#send([...this.#rooms, ...(this.#random() < 0.5 ? [ROOM_ON_SOCKET] : [])]);
    }
  }

  #send(rooms: readonly string[]): void {
    const socket = this.#socket?.socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.rooms = rooms;
    socket.send(JSON.stringify({ action: 'rooms', rooms: rooms.join() }));
  }

  /** Users in a room, as it was told. */
  present(room: string): string[] {
    return [...this.#presence.of(room).state.users.keys()];
  }

  /** From now on it stays connected. */
  settle(): void {
    this.#steady = true;
  }

  stop(): void {
    this.#stopping = true;
    this.#socket?.socket.terminate();
  }

  #receive(frame: Frame): void {
    if (frame.type === 'PRESENCE') this.#presence.receive(frame);
    if (frame.type === 'READY') {
      this.readyAt = Math.min(this.readyAt, performance.now());
      if (frame.recovered === false) this.unrecovered++;
    }
    if (frame.id !== undefined) this.#take(frame.id, String(frame.data?.key));
    if (frame.cursor) this.#cursor = frame.cursor;
  }

  #take(id: string, key: string): void {
    if (this.#seen.has(id)) {
      this.repeats++;
      return;
    }
    this.#seen.add(id);
    this.received.push(key);
    // Everything that its cursor sees has been delivered, or was before its time.
    const had = parseCursor(this.#cursor ?? '')?.snapshot;
    const event = this.#ledger.events.get(key);
    if (had && event && isOrdered(this, event) && Snapshot.of(had).sees(event.xid))
      this.stale.push(key);
  }
}

interface ChaosClientOptions {
  readonly name: string;
  readonly rooms: readonly string[];
  /** It joins another on its open socket, and leaves it. */
  readonly joins: boolean;
  readonly stays: readonly Stay[];
  readonly batch: boolean;
  readonly url: string;
  readonly random: () => number;
  /** The written events. */
  readonly ledger: Ledger;
}
