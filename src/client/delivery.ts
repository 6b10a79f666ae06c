import type { Frame } from './frames.ts';
import { Queue } from './queue.ts';
import { Timer } from './timer.ts';

/** An event as it came; the application's map says what is in `data`. */
export type Event = Frame & { readonly id: string; readonly type: string };

/**
 * From frames to the application, in order: drops repeats, lets a truncated message's row be
 * fetched before what follows it, and only then moves the cursor. READY waits its turn too: what
 * was missed is delivered before the feed is called live.
 */
export class Delivery {
  /** Everything before it was delivered. */
  cursor: string | undefined;
  /** The last transactions of which messages were delivered, since the last loss. */
  readonly delivered = new Set<string>();
  readonly #deps: DeliveryDeps;
  /**
   * With their installations, in the order they came; the oldest are forgotten first. Ids of
   * another installation begin anew.
   */
  readonly #ids = new Set<string>();
  readonly #waiting = new Queue<Event | (() => void)>();
  #fetching = false;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  /** It came before. */
  knows({ id, cursor }: Frame): boolean {
    return this.#ids.has(`${id} ${installationOf(cursor)}`);
  }

  /**
   * The server may send again, under other ids, what it has sent before, or be of another database:
   * the application fetches anew anyway.
   */
  forget(): void {
    this.#ids.clear();
    this.delivered.clear();
  }

  /** The oldest is forgotten first. */
  #remember(set: Set<string>, id: string): void {
    set.add(id);
    if (set.size > this.#deps.maxRememberedIds) set.delete(set.values().next().value as string);
  }

  event(event: Event): void {
    this.#remember(this.#ids, `${event.id} ${installationOf(event.cursor)}`);
    this.#waiting.push(event);
    this.#next();
  }

  /** When all that came before is delivered. */
  afterwards(act: () => void): void {
    this.#waiting.push(act);
    this.#next();
  }

  #next(): void {
    while (!this.#fetching && !this.#deps.signal.aborted) {
      const next = this.#waiting.take();
      if (!next) return;
      if (typeof next === 'function') next();
      else if (next.truncated && this.#deps.fetchRow) void this.#fetch(next, this.#deps.fetchRow);
      else this.#deliver(next);
    }
  }

  #deliver(event: Event): void {
    this.cursor = event.cursor ?? this.cursor;
    if (event.tx) this.#remember(this.delivered, event.tx);
    this.#deps.message(event);
  }

  /** Without a row in time, the message goes on as it came: truncated. */
  async #fetch(event: Event, fetchRow: NonNullable<DeliveryDeps['fetchRow']>): Promise<void> {
    this.#fetching = true;
    const { signal, fetchTimeoutMs } = this.#deps;
    const over = new AbortController();
    const stop = () => over.abort();
    signal.addEventListener('abort', stop);
    const deadline = new Timer();
    deadline.set(fetchTimeoutMs, stop);
    const tooLate = new Promise<undefined>((resolve) => {
      over.signal.addEventListener('abort', () => resolve(undefined));
    });
    const fetched = (async () => fetchRow(event, { signal: over.signal }))().catch(() => undefined);
    const row = await Promise.race([fetched, tooLate]);
    deadline.clear();
    signal.removeEventListener('abort', stop);
    this.#fetching = false;
    if (signal.aborted) return;
    const { truncated: _, ...whole } = event;
    this.#deliver(row ? { ...whole, data: row, fetched: true } : event);
    this.#next();
  }
}

/** A cursor ends with the installation that it is of. */
function installationOf(cursor = ''): string {
  const dot = cursor.lastIndexOf('.');
  return dot < 0 ? '' : cursor.slice(dot);
}

export interface DeliveryDeps {
  message(event: Event): void;
  readonly fetchRow:
    | ((event: Event, context: { readonly signal: AbortSignal }) => Promise<unknown>)
    | undefined;
  readonly fetchTimeoutMs: number;
  readonly maxRememberedIds: number;
  /** The feed is closed. */
  readonly signal: AbortSignal;
}
