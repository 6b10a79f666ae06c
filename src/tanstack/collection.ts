import type { CollectionConfig, SyncConfig } from '@tanstack/db';
import { type ListFeed, type ListOptions, liveList } from '../list/live-list.ts';
import { rowKey } from '../list/rows.ts';

/** Options as for `liveList`; what is shown, and in which order, is the collection's own matter. */
export interface RowcastCollectionOptions<Row extends object>
  extends Omit<ListOptions<Row>, 'compare' | 'limit'> {
  readonly feed: ListFeed;
  /** The collection's; `rowcast-ORDER` by default. */
  readonly id?: string;
}

/**
 * A TanStack DB collection of a table:
 *
 *     const options = rowcastCollectionOptions<Order>({ feed, entity: 'ORDER', fetch });
 *     const orders = createCollection(options);
 *
 * What one WebSocket message changed is one batch. The collection's own `onInsert` and so on are
 * added beside it; they wait for `feed.waitFor(tx)`.
 */
export function rowcastCollectionOptions<Row extends object>({
  feed,
  id,
  ...options
}: RowcastCollectionOptions<Row>): CollectionConfig<Row, string> {
  const keyOf = (row: Row) => rowKey(row, options.key);
  // A collection that was cleaned up and starts again begins with a fetch.
  let { initial } = options;
  const sync = (collection: Collection<Row>) => {
    const stop = follow(feed, { ...options, initial }, keyOf, collection);
    initial = undefined;
    return stop;
  };
  return {
    id: id ?? `rowcast-${options.entity}`,
    getKey: keyOf,
    sync: { rowUpdateMode: 'full', sync },
  };
}

type Collection<Row extends object> = Parameters<SyncConfig<Row, string>['sync']>[0];

/** @returns ends it */
function follow<Row extends object>(
  feed: ListFeed,
  options: ListOptions<Row>,
  keyOf: (row: Row) => string,
  { begin, write, commit, truncate, markReady }: Collection<Row>,
): () => void {
  const list = liveList(feed, options);
  let known = new Map<string, Row>();
  let rows: readonly Row[] = [];
  let isTruncated = false;
  const stop = feed.onMessage(({ type }) => {
    isTruncated ||= type === `TRUNCATE_${options.entity}`;
  });
  const show = () => {
    if (list.rows !== rows && list.rows.length + known.size > 0) {
      const next = new Map(list.rows.map((row) => [keyOf(row), row]));
      begin();
      if (isTruncated) {
        truncate();
        known = new Map();
      }
      for (const change of changesOf(known, next)) write(change);
      commit();
      known = next;
    }
    isTruncated = false;
    rows = list.rows;
    if (list.status === 'live') markReady();
  };
  list.subscribe(show);
  show();
  return () => {
    stop();
    list.close();
  };
}

type Change<Row> = { readonly type: 'insert' | 'update' | 'delete'; readonly value: Row };

function* changesOf<Row>(
  before: ReadonlyMap<string, Row>,
  after: ReadonlyMap<string, Row>,
): Generator<Change<Row>> {
  for (const [key, value] of after) {
    const known = before.get(key);
    if (known !== value) yield { type: known ? 'update' : 'insert', value };
  }
  for (const [key, value] of before) if (!after.has(key)) yield { type: 'delete', value };
}
