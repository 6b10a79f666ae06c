import { type ListFeed, type ListOptions, liveList } from '../list/live-list.ts';

/** As much of a QueryClient as is needed. */
export interface QueryCache {
  setQueryData(queryKey: readonly unknown[], data: unknown): unknown;
}

export interface SyncQueryOptions<Row extends object> extends ListOptions<Row> {
  readonly feed: ListFeed;
  readonly queryKey: readonly unknown[];
}

export interface SyncedQuery<Row> {
  /** For `useQuery`, with whatever options besides. */
  readonly query: {
    readonly queryKey: readonly unknown[];
    readonly queryFn: () => Promise<readonly Row[]>;
    readonly staleTime: number;
  };
  /** The query's data stays, and follows nothing any more. */
  stop(): void;
}

/**
 * Keeps the data of a query as the rows of a table, for as long as the cache lives:
 *
 *     const options = { feed, queryKey: ['orders'], entity: 'ORDER', fetch };
 *     const orders = syncQuery(queryClient, options);
 *     const { data } = useQuery(orders.query);
 */
export function syncQuery<Row extends object>(
  cache: QueryCache,
  { feed, queryKey, ...options }: SyncQueryOptions<Row>,
): SyncedQuery<Row> {
  const list = liveList<Row>(feed, options);
  const show = () => {
    if (list.exact !== null) cache.setQueryData(queryKey, list.rows);
  };
  list.subscribe(show);
  show();
  return {
    query: {
      queryKey,
      // Asked where the cache has nothing, or something was invalidated.
      queryFn: async () => {
        await list.refresh();
        if (list.error) throw list.error;
        if (list.status === 'closed') throw new Error('syncQuery: stopped; make another');
        return list.rows;
      },
      staleTime: Number.POSITIVE_INFINITY,
    },
    stop: () => list.close(),
  };
}
