/**
 * A table on the screen: fetched once, then kept by the messages of a feed.
 *
 *     fetch ── rows and the snapshot they are of ─┐
 *     feed ─── messages since before the fetch ───┴─▶ rows ──▶ listeners, once a WebSocket message
 *
 * Exact: of the messages, those whose transaction the snapshot has seen are dropped, the others are
 * applied in their order. A snapshot must see all that the feed had delivered when its messages
 * began to be kept; an older one (of a replica that lags) is not used, and the fetch is made again
 * while messages go on being kept. So the rows never go back, and nothing is missed.
 *
 * Where the application's API gives no snapshot (`rowcast.snapshot()`, docs/lists.md), all that
 * came during the fetch is applied to its rows, which may be newer: `exact` is false.
 */
import type { Status } from '../client/feed.ts';
import type { Ready } from '../client/message.ts';
import { type ClientCursor, parseCursor } from '../protocol/cursor.ts';
import { isWithin, sees } from '../protocol/snapshot.ts';
import { isTable } from './is-table.ts';
import { Rows, type RowsOptions } from './rows.ts';

export { isTable };

/** Messages that are kept during a fetch; when there are more, it is made again. */
const MAX_KEPT = 10_000;
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

export interface ListOptions<Row extends object> extends RowsOptions<Row> {
  /** As in the types of its messages: `ORDER` for NEW_ORDER. */
  readonly entity: string;
  /** Its rows, from the application's API. */
  fetch(context: { readonly signal: AbortSignal }): Promise<Fetched<Row>>;
  /** Fetched before, such as by the server that rendered the page. */
  readonly initial?: Fetched<Row> | undefined;
  /** For a feed with `dataAsText`; JSON.parse by default. */
  readonly parse?: ((text: string) => Partial<Row>) | undefined;
}

export type Fetched<Row> = readonly Row[] | Page<Row>;

interface Page<Row> {
  readonly rows: readonly Row[];
  /** `rowcast.snapshot()` of the statement that brought them. */
  readonly cursor?: string | null | undefined;
}

/**
 * - `loading`: there are no rows yet
 * - `live`: the rows are those of the table, and follow it
 * - `stale`: they may be behind: the feed is not live, or a fetch was of an older snapshot
 * - `error`: the fetch failed, as `error` says, and is made again
 * - `closed`
 */
export type ListStatus = 'loading' | 'live' | 'stale' | 'error' | 'closed';

export interface LiveList<Row> {
  /** Another array after each change, the same one until then. */
  readonly rows: readonly Row[];
  readonly status: ListStatus;
  readonly error: Error | null;
  /** The rows never go back. False where the fetch brings no snapshot; null before it. */
  readonly exact: boolean | null;
  /** Called after each change of rows or status. @returns stops it */
  subscribe(listener: () => void): () => void;
  /** Fetches again, now; resolves when that is over. */
  refresh(): Promise<void>;
  close(): void;
}

/** As much of a feed as a list needs: a `Feed`. */
export interface ListFeed {
  readonly status: Status;
  readonly cursor: string | undefined;
  readonly delivered: ReadonlySet<string>;
  onMessage(listener: (message: ListMessage) => void): () => void;
  onReady(listener: (ready: Ready) => void): () => void;
  onStatus(listener: () => void): () => void;
}

interface ListMessage {
  readonly type: string;
  readonly data: unknown;
  readonly old?: unknown;
  readonly truncated?: boolean | undefined;
  readonly tx?: string | undefined;
}

/** @throws TypeError that names the option that is wrong */
export function liveList<Row extends object>(
  feed: ListFeed,
  options: ListOptions<Row>,
): LiveList<Row> {
  return new FetchedList(feed, options);
}

class FetchedList<Row extends object> implements LiveList<Row> {
  rows!: readonly Row[];
  status!: ListStatus;
  error: Error | null = null;
  exact: boolean | null = null;
  readonly #feed: ListFeed;
  readonly #options: ListOptions<Row>;
  readonly #rows: Rows<Row>;
  readonly #listeners = new Set<() => void>();
  readonly #stops: (() => void)[];
  /** The snapshot that the rows are of; null where that is not known. */
  #seen: ClientCursor | null = null;
  /** While a fetch is to come: messages since `#keep()`. */
  #kept: ListMessage[] | null = null;
  /**
   * A place sees what the rows are of, and all that the feed had delivered when the messages began
   * to be kept; undefined before the feed says where it is.
   */
  #covers: ((place: ClientCursor) => boolean) | undefined;
  #fetching: Promise<void> | null = null;
  #abort: AbortController | undefined;
  /** The rows are of one moment, and messages go on from there. */
  #isWhole = false;
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(feed: ListFeed, options: ListOptions<Row>) {
    this.#feed = feed;
    this.#options = options;
    this.#rows = new Rows(options);
    // A feed that says where it is before it is READY goes on from there.
    let goesOn = feed.cursor !== undefined;
    this.#stops = [
      feed.onMessage((message) => this.#hear(message)),
      feed.onReady(({ first, recovered }) => {
        if (!recovered || (first && !goesOn)) this.#restart();
        goesOn = false;
        this.#changed();
      }),
      feed.onStatus(() => this.#changed()),
    ];
    if (goesOn) this.#keep();
    if (options.initial) this.#take(options.initial);
    else if (goesOn) void this.refresh();
    this.#show();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  refresh(): Promise<void> {
    if (!this.#kept) this.#keep();
    this.#fetching ??= this.#fetch();
    return this.#fetching;
  }

  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#abort?.abort();
    clearTimeout(this.#retry);
    this.#show();
  }

  #restart(): void {
    this.#isWhole = false;
    this.#abort?.abort();
    this.#fetching = null;
    this.#keep();
    void this.refresh();
  }

  #keep(): void {
    this.#kept = [];
    const from = parseCursor(this.#feed.cursor ?? '');
    const delivered = [...this.#feed.delivered];
    this.#covers = (place) => {
      const { installation, snapshot } = place;
      // A cursor of the feed's that names no place proves nothing: a primary's snapshot is newer.
      const least = from ?? place;
      const seen = this.#seen?.installation === installation ? this.#seen : place;
      return (
        least.installation === installation &&
        isWithin(least.snapshot, snapshot) &&
        isWithin(seen.snapshot, snapshot) &&
        delivered.every((tx) => sees(snapshot, BigInt(tx)))
      );
    };
  }

  async #fetch(): Promise<void> {
    clearTimeout(this.#retry);
    const abort = new AbortController();
    const { signal } = abort;
    this.#abort = abort;
    try {
      const fetched = await this.#options.fetch({ signal });
      if (!signal.aborted) this.#take(fetched);
    } catch (error) {
      if (!signal.aborted) this.#again(error as Error);
    }
  }

  #take(fetched: Fetched<Row>): void {
    const { rows, cursor }: Page<Row> = 'rows' in fetched ? fetched : { rows: fetched };
    const place = parseCursor(cursor ?? '');
    const isStale = !this.#covers || (cursor && !(place && this.#covers(place)));
    // Rows that lag are shown where there are none yet: later ones could be older still.
    if (!isStale || this.exact === null) {
      this.#rows.replace(rows);
      this.#seen = place;
      this.exact = !!place;
    }
    if (isStale) {
      this.#again(null);
      return;
    }
    const kept = this.#kept ?? [];
    this.#kept = this.#fetching = this.error = null;
    this.#failures = 0;
    this.#isWhole = true;
    for (const message of kept) this.#apply(message);
    this.#changed();
  }

  /** Later. Before the feed has told where it is, its READY brings the next fetch about. */
  #again(error: Error | null): void {
    this.#fetching = null;
    this.error = error;
    const most = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** this.#failures++);
    if (this.#covers) this.#retry = setTimeout(() => this.refresh(), Math.random() * most);
    this.#changed();
  }

  #hear(message: ListMessage): void {
    if (!isTable(this.#options.entity, message)) return;
    this.#kept?.push(message);
    if (this.#kept && this.#kept.length > MAX_KEPT) this.#keep();
    this.#apply(message);
    this.#changed();
  }

  #apply({ type, data, old, truncated, tx }: ListMessage): void {
    if (!this.#isWhole || (tx && this.#seen && sees(this.#seen.snapshot, BigInt(tx)))) return;
    const row = this.#rowOf(data);
    if (type[0] === 'T') this.#rows.clear();
    else if (row && type[0] === 'D') this.#rows.delete(row);
    else if (row && !truncated) this.#rows.put(row, this.#rowOf(old));
    else this.#isWhole = false;
    if (!this.#isWhole || this.#rows.isShort) void this.refresh();
  }

  #rowOf(data: unknown): Partial<Row> | null {
    const { parse = JSON.parse } = this.#options;
    return (typeof data === 'string' ? parse(data) : data) as Partial<Row> | null;
  }

  /** Listeners hear of all that one WebSocket message changed at once. */
  #changed(): void {
    queueMicrotask(() => this.#show());
  }

  #show(): void {
    const rows = this.#rows.sorted;
    const status = this.#status();
    if (rows === this.rows && status === this.status) return;
    this.rows = rows;
    this.status = status;
    for (const listener of this.#listeners) listener();
  }

  #status(): ListStatus {
    if (this.#stops.length === 0) return 'closed';
    if (this.error) return 'error';
    if (this.exact === null) return 'loading';
    return !this.#isWhole || this.#feed.status !== 'live' ? 'stale' : 'live';
  }
}
