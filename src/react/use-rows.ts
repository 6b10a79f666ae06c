import { useMemo } from 'react';
import { type ListFeed, type ListOptions, type LiveList, liveList } from '../list/live-list.ts';
import { useLatest, useSharedFeed } from './provider.ts';
import { type Store, useSelected } from './use-selected.ts';

/**
 * Options as for `liveList`. Another entity, limit or `listKey` makes another list; `fetch` is the
 * one of the last rendering.
 */
export interface UseRowsOptions<Row extends object> extends ListOptions<Row> {
  /** Names the list: `fetch`, `where` and `compare` may depend on it (the id of a project). */
  readonly listKey?: string | number | undefined;
}

export type RowsState<Row> = Pick<LiveList<Row>, 'rows' | 'status' | 'error' | 'exact' | 'refresh'>;

/**
 * The rows of a table, exact and live: see list/live-list.ts.
 * @param select what of the state the component shows: it is rendered when that changes
 * @throws outside of a RowcastProvider
 */
export function useRows<Row extends object, Selected = RowsState<Row>>(
  options: UseRowsOptions<Row>,
  select: (state: RowsState<Row>) => Selected = (state) => state as Selected,
): Selected {
  const feed = useSharedFeed('useRows');
  const latest = useLatest(options);
  const { entity, limit, listKey } = options;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a list is made for these
  const store = useMemo(
    () =>
      new RowsStore(feed, {
        ...options,
        fetch: (context) => latest.current.fetch(context),
      }),
    [feed, entity, limit, listKey],
  );
  return useSelected(store, select);
}

/** Has a list while somebody subscribes, and for a moment after: StrictMode subscribes twice. */
class RowsStore<Row extends object> implements Store<RowsState<Row>> {
  readonly #feed: ListFeed;
  readonly #options: ListOptions<Row>;
  readonly #initial: RowsState<Row>;
  #state: RowsState<Row>;
  #list: LiveList<Row> | undefined;
  #subscribers = 0;

  constructor(feed: ListFeed, options: ListOptions<Row>) {
    this.#feed = feed;
    this.#options = options;
    const { initial = [] } = options;
    this.#initial = {
      rows: 'rows' in initial ? initial.rows : initial,
      status: options.initial ? 'stale' : 'loading',
      error: null,
      exact: null,
      refresh: async () => this.#list?.refresh(),
    };
    this.#state = this.#initial;
  }

  readonly state = (): RowsState<Row> => this.#state;
  readonly initial = (): RowsState<Row> => this.#initial;

  readonly subscribe = (changed: () => void): (() => void) => {
    this.#subscribers++;
    this.#list ??= this.#open();
    const list = this.#list;
    const show = () => {
      const { rows, status, error, exact } = list;
      const shown = this.#state;
      if (rows === shown.rows && status === shown.status && error === shown.error) return;
      this.#state = { ...this.#initial, rows, status, error, exact };
      changed();
    };
    const stop = list.subscribe(show);
    show();
    return () => {
      stop();
      this.#subscribers--;
      setTimeout(() => {
        if (this.#subscribers > 0 || this.#list !== list) return;
        list.close();
        this.#list = undefined;
      });
    };
  };

  /** The rows that were shown last stay until there are better: `initial` is of long ago. */
  #open(): LiveList<Row> {
    const { exact, rows } = this.#state;
    return liveList(
      this.#feed,
      exact === null ? this.#options : { ...this.#options, initial: rows },
    );
  }
}
