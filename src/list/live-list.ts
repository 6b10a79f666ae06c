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
import { Listeners } from '../client/listeners.ts';
import type { Ready } from '../client/message.ts';
import { type ClientCursor, parseCursor } from '../protocol/cursor.ts';
import { isWithin, sees } from '../protocol/snapshot.ts';
import { isTable } from './is-table.ts';
import { Rows, type RowsOptions } from './rows.ts';

export { isTable };

/** Messages that are kept during a fetch; when there are more, it begins anew. */
const MAX_KEPT = 10_000;
/** The first retry comes within this; each further within twice the time before, up to 29 s. */
const RETRY_MS = 450;
const MAX_DOUBLINGS = 6;

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
  /**
   * Fetches again: resolves when a fetch that began after the call has brought rows, or failed as
   * `error` says.
   */
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
  /** It has the key alone. */
  readonly truncated?: boolean | undefined;
  /** Its row may be newer than itself. */
  readonly fetched?: boolean | undefined;
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
  rows: readonly Row[] = [];
  declare status: ListStatus;
  error: Error | null = null;
  exact: boolean | null = null;
  readonly #feed: ListFeed;
  readonly #options: ListOptions<Row>;
  readonly #listeners = new Listeners<[]>();
  readonly #stops: (() => void)[];
  #rows: Rows<Row>;
  /** The snapshot that the rows are of; null where that is not known. */
  #seen: ClientCursor | null = null;
  /** While a fetch is to come: messages since `#keep()`. */
  #kept: ListMessage[] | null = null;
  /**
   * A place sees what the rows are of, and all that the feed had delivered when the messages began
   * to be kept; undefined before the feed says where it is.
   */
  #covers: ((place: ClientCursor) => boolean) | undefined;
  /** The rows are of one moment, and messages go on from there. */
  #isWhole = false;
  #refreshing: Promise<void> | null = null;
  /** Another fetch is to follow the one that goes on. */
  #wanted = false;
  #abort: AbortController | undefined;
  #failures = 0;
  /** The error of which listeners have heard. */
  #shown: Error | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(feed: ListFeed, options: ListOptions<Row>) {
    this.#feed = feed;
    this.#options = options;
    this.#rows = new Rows(options);
    this.#keep();
    if (options.initial) this.#take(options.initial);
    this.#stops = [
      feed.onMessage((message) => {
        if (!isTable(options.entity, message)) return;
        if ((this.#kept?.push(message) ?? 0) > MAX_KEPT) this.#restart();
        this.#apply(message);
        this.#changed();
      }),
      feed.onReady(({ recovered }) => {
        // A feed that said where it was before it was READY has gone on from there.
        if (!recovered || !this.#covers) this.#restart();
        this.#changed();
      }),
      feed.onStatus(() => this.#changed()),
    ];
    if (this.#covers && !this.#isWhole) void this.refresh();
    this.#show();
  }

  subscribe(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  refresh(): Promise<void> {
    this.#wanted = true;
    this.#refreshing ??= this.#refresh();
    return this.#refreshing;
  }

  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#abort?.abort();
    clearTimeout(this.#retry);
    this.#show();
  }

  #restart(): void {
    this.#isWhole = false;
    this.#keep();
    this.#abort?.abort();
    void this.refresh();
  }

  #keep(): void {
    this.#kept = [];
    const { cursor } = this.#feed;
    if (cursor === undefined) return;
    const from = parseCursor(cursor);
    const delivered = [...this.#feed.delivered];
    // A cursor of the feed's that names no place proves nothing: a primary's snapshot is newer.
    this.#covers = ({ installation, snapshot }) =>
      [from, this.#seen].every((at) =>
        at?.installation === installation ? isWithin(at.snapshot, snapshot) : !at || at !== from,
      ) && delivered.every((tx) => sees(snapshot, BigInt(tx)));
  }

  async #refresh(): Promise<void> {
    while (this.#wanted && this.#stops[0]) {
      this.#wanted = false;
      await this.#fetch();
    }
    this.#refreshing = null;
  }

  async #fetch(): Promise<void> {
    clearTimeout(this.#retry);
    if (!this.#kept) this.#keep();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    // A fetch that does not heed its signal holds nothing up.
    const aborted = new Promise<never>((resolve) => {
      signal.onabort = resolve as never;
    });
    try {
      const fetched = await Promise.race([this.#options.fetch({ signal }), aborted]);
      if (signal.aborted || this.#take(fetched)) return;
      this.error = null;
    } catch (reason) {
      if (signal.aborted) return;
      this.error = reason instanceof Error ? reason : new Error(`${reason}`);
    }
    this.#changed();
    // Before the feed has told where it is, its READY brings the next fetch about.
    if (!this.#covers) return;
    const most = RETRY_MS * 2 ** Math.min(this.#failures++, MAX_DOUBLINGS);
    this.#retry = setTimeout(() => this.refresh(), Math.random() * most);
  }

  /** @returns the rows are of one moment, from which messages go on */
  #take(fetched: Fetched<Row>): boolean {
    const { rows = fetched as readonly Row[], cursor } = fetched as Partial<Page<Row>>;
    const place = parseCursor(cursor ?? '');
    // Without a snapshot, the rows of a fetch are newer than its beginning; rows that were there
    // before any fetch may be of any time.
    const isWhole = this.#covers && (place ? this.#covers(place) : !cursor && this.#abort);
    // Rows that lag are shown where there are none yet: later ones could be older still.
    if (!isWhole && this.exact !== null) return false;
    this.#rows = new Rows(this.#options, rows);
    this.#seen = place;
    this.exact = !!place;
    if (!isWhole) {
      this.rows = this.#rows.sorted;
      return false;
    }
    const kept = this.#kept ?? [];
    this.#kept = this.error = null;
    this.#failures = 0;
    this.#isWhole = true;
    for (const message of kept) this.#apply(message);
    this.#changed();
    return true;
  }

  #apply({ type, data, old, truncated, fetched, tx }: ListMessage): void {
    if (!this.#isWhole || (tx && this.#seen && sees(this.#seen.snapshot, BigInt(tx)))) return;
    const { parse = JSON.parse } = this.#options;
    const rowOf = (image: unknown) =>
      (typeof image === 'string' ? parse(image) : image) as Partial<Row>;
    try {
      const row = rowOf(data);
      if (type[0] === 'T') this.#rows = new Rows(this.#options);
      else if (type[0] === 'D') this.#rows.delete(row);
      else this.#isWhole = !truncated && !fetched && this.#rows.put(row, !!old && rowOf(old));
    } catch {
      // It has not the list's key, or the application's own functions do not take it.
      this.#isWhole = false;
    }
    // Kept messages are applied again to the rows that the fetch brings.
    if ((!this.#isWhole || this.#rows.isShort) && !this.#kept) void this.refresh();
  }

  /** Listeners hear of all that one WebSocket message changed at once. */
  #changed(): void {
    queueMicrotask(() => this.#show());
  }

  #show(): void {
    // A part of what one WebSocket message changed may be a state that the table never had.
    const rows = this.#isWhole ? this.#rows.sorted : this.rows;
    let status: ListStatus = this.#isWhole && this.#feed.status === 'live' ? 'live' : 'stale';
    if (this.exact === null) status = 'loading';
    if (this.error) status = 'error';
    if (!this.#stops[0]) status = 'closed';
    if (rows === this.rows && status === this.status && this.error === this.#shown) return;
    this.rows = rows;
    this.status = status;
    this.#shown = this.error;
    this.#listeners.call();
  }
}
