import type { Position } from './event-log.ts';

/** How long reading waits for room before the slowest are asked to step aside. */
const STALL_MS = 1000;

/**
 * Pages that were handed to delivery and are not all delivered yet, in the order they were read. Reading runs
 * ahead of delivery until `maxBytes` are in flight; the rest waits in Postgres. The cursor is committed only
 * over pages that were delivered together with all before them; one commit runs at a time, of the newest
 * position there is.
 */
export class PagesInFlight {
  readonly #maxBytes: number;
  readonly #commit: (position: Position) => Promise<void>;
  readonly #stalled: () => void;
  readonly #pages: { next: Position; bytes: number; delivered: boolean }[] = [];
  #bytes = 0;
  #committing: Promise<void> | undefined;
  #due: Position | undefined;
  #changed: () => void = () => undefined;
  #failure: { error: unknown } | undefined;

  /** @param deps.stalled is called again and again while there has been no room for a while */
  constructor(deps: { maxBytes: number; commit: (position: Position) => Promise<void>; stalled?: () => void }) {
    this.#maxBytes = deps.maxBytes;
    this.#commit = deps.commit;
    this.#stalled = deps.stalled ?? (() => undefined);
  }

  /** Bytes read and not delivered. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param next the position that is reached once this page and all before it are delivered */
  add(next: Position, bytes: number, delivered: Promise<void>): void {
    const page = { next, bytes, delivered: false };
    this.#pages.push(page);
    this.#bytes += bytes;
    void delivered.then(() => {
      page.delivered = true;
      this.#settle();
    });
  }

  /**
   * Resolves when there is room to read on; a single page may be larger than the room.
   * @throws what a commit threw: the lease is lost, or the database
   */
  async room(signal: AbortSignal): Promise<void> {
    const stalled = this.#bytes < this.#maxBytes ? undefined : setInterval(this.#stalled, STALL_MS);
    await this.#until(() => this.#bytes < this.#maxBytes, signal).finally(() => clearInterval(stalled));
  }

  /** Resolves when everything that was read is delivered and committed. */
  async empty(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#pages.length === 0 && !this.#committing, signal);
  }

  async #until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#failure) throw this.#failure.error;
      if (condition()) return;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
        signal.addEventListener('abort', this.#changed, { once: true });
      });
      signal.removeEventListener('abort', this.#changed);
    }
  }

  #settle(): void {
    let page = this.#pages[0];
    while (page?.delivered) {
      this.#pages.shift();
      this.#bytes -= page.bytes;
      this.#due = page.next;
      page = this.#pages[0];
    }
    // Not without anything due: it would end before it is noted here as running, and nothing would be committed again.
    if (this.#due) this.#committing ??= this.#commitDue();
    this.#changed();
  }

  async #commitDue(): Promise<void> {
    try {
      while (this.#due) {
        const position = this.#due;
        this.#due = undefined;
        await this.#commit(position);
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#committing = undefined;
    this.#changed();
  }
}
