import { type Clock, every, type Timer } from '../clock.ts';
import type { Position } from './event-log.ts';
import type { LoggedEvent } from './logged-event.ts';

/** How often the oldest page is checked: a few slow connections that it waits for are passed. */
const LOOK_INTERVAL_MS = 500;

/**
 * Pages that were handed to delivery and are not all delivered yet, in the order they were read.
 * Reading runs ahead of delivery until `maxBytes` are in flight; the rest waits in Postgres. A
 * position is settled once the page before it and all earlier ones are delivered.
 */
export class PagesInFlight {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #settled: (position: Position) => void;
  readonly #stalled: (forMs: number, isFull: boolean) => void;
  readonly #pages: { next: Position; bytes: number; addedAt: number; delivered: boolean }[] = [];
  #bytes = 0;
  #stalling: Pick<Timer, 'cancel'> | undefined;
  #changed: () => void = () => undefined;

  /**
   * @param deps.stalled is called again and again with how long the oldest page has waited, and
   * whether reading waits for room
   */
  constructor(deps: {
    clock: Clock;
    maxBytes: number;
    settled: (position: Position) => void;
    stalled?: (forMs: number, isFull: boolean) => void;
  }) {
    this.#clock = deps.clock;
    this.#maxBytes = deps.maxBytes;
    this.#settled = deps.settled;
    this.#stalled = deps.stalled ?? (() => undefined);
  }

  /** Bytes read and not delivered. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#pages.length === 0;
  }

  /** @param next the position that is reached once this page and all before it are delivered */
  add(next: Position, bytes: number, delivered: Promise<void>): void {
    const page = { next, bytes, addedAt: this.#clock.uptimeMs(), delivered: false };
    this.#pages.push(page);
    this.#bytes += bytes;
    this.#stalling ??= every(this.#clock, LOOK_INTERVAL_MS, () => this.#lookForStall());
    void delivered.then(() => {
      page.delivered = true;
      this.#settle();
    });
  }

  /** Resolves when there is room to read on; a single page may be larger than the room. */
  async room(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#bytes < this.#maxBytes, signal);
  }

  /** Resolves when everything that was read is delivered. */
  async empty(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.isEmpty, signal);
  }

  /** No more pages are added. */
  stop(): void {
    this.#stalling?.cancel();
  }

  #lookForStall(): void {
    const [oldest] = this.#pages;
    if (!oldest) {
      this.#stalling?.cancel();
      this.#stalling = undefined;
    } else this.#stalled(this.#clock.uptimeMs() - oldest.addedAt, this.#bytes >= this.#maxBytes);
  }

  async #until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (condition()) return;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
        signal.addEventListener('abort', this.#changed, { once: true });
      });
      signal.removeEventListener('abort', this.#changed);
    }
  }

  #settle(): void {
    let reached: Position | undefined;
    for (let page = this.#pages[0]; page?.delivered; page = this.#pages[0]) {
      this.#pages.shift();
      this.#bytes -= page.bytes;
      reached = page.next;
    }
    if (reached) this.#settled(reached);
    this.#changed();
  }
}

/**
 * Heap per event in flight beyond its text, uncollected garbage included (measured by `bench
 * catchup`).
 */
const EVENT_BYTES = 6000;
const TERM_BYTES = 100;

/** About what a page holds in memory while it is delivered. */
export function pageBytes(events: readonly LoggedEvent[]): number {
  let bytes = 0;
  for (const { data, old, audience } of events)
    bytes += EVENT_BYTES + (data?.length ?? 0) + (old?.length ?? 0) + audience.length * TERM_BYTES;
  return bytes;
}
