import { setTimeout } from 'node:timers/promises';
import { Snapshot } from '../../src/log/snapshot.ts';
import { parseCursor } from '../../src/protocol/cursor.ts';
import { TestClient } from '../support/client/client.ts';
import type { Ledger, ReceivingClient } from './ledger.ts';

/** A client that is cut off again and again and comes back with its cursor, as a good one does. */
export class ChaosClient implements ReceivingClient {
  readonly name: string;
  readonly terms: ReadonlySet<string>;
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
  #cursor: string | undefined;
  #socket: TestClient | undefined;
  #stopping = false;
  #steady = false;

  constructor(options: ChaosClientOptions) {
    this.name = options.name;
    this.terms = new Set([
      'all',
      `user:${options.name}`,
      ...options.rooms.map((room) => `room:${room}`),
    ]);
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
      socket.onFrame = (frame) => this.#receive(frame);
      const closed = new Promise<void>((resolve) => socket.socket.once('close', () => resolve()));
      const stay = this.#steady
        ? closed
        : Promise.race([closed, setTimeout(1000 + this.#random() * 6000)]);
      await stay;
      if (!this.#steady || this.#stopping) socket.socket.terminate();
      await closed;
      await setTimeout(this.#random() * 1000);
    }
  }

  /** From now on it stays connected. */
  settle(): void {
    this.#steady = true;
  }

  stop(): void {
    this.#stopping = true;
    this.#socket?.socket.terminate();
  }

  #receive(frame: {
    id?: string;
    type: string;
    cursor?: string;
    recovered?: boolean;
    data?: Record<string, unknown> | null;
  }): void {
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
    if (had && event && Snapshot.of(had).sees(event.xid)) this.stale.push(key);
  }
}

interface ChaosClientOptions {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly batch: boolean;
  readonly url: string;
  readonly random: () => number;
  /** The written events. */
  readonly ledger: Ledger;
}
