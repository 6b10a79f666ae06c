import { expect, onTestFinished, vi } from 'vitest';
import {
  type Fetched,
  type ListOptions,
  type LiveList,
  liveList,
} from '../../src/list/live-list.ts';
import { fakeFeed } from '../../src/testing/fake-feed.ts';

export interface Order {
  id: number | string;
  status: string;
  total?: number;
}

export const order = (id: number, status = 'new', total = id): Order => ({ id, status, total });
export const inserted = (data: Order) => ({ type: 'NEW_ORDER', data });
export const updated = (data: Order) => ({ type: 'UPDATE_ORDER', data });
export const deleted = (data: Order) => ({ type: 'DELETE_ORDER', data });

/** A list whose fetches are answered by the test, one by one. */
export function start(options: Partial<ListOptions<Order>> = {}, feed = fakeFeed()) {
  const fetches: {
    answer(fetched: Fetched<Order>): Promise<void>;
    fail(error: Error): void;
    signal: AbortSignal;
  }[] = [];
  const list = liveList<Order>(feed.feed, {
    entity: 'ORDER',
    fetch: ({ signal }) =>
      new Promise((resolve, reject) =>
        fetches.push({
          answer: async (fetched) => {
            resolve(fetched);
            await vi.waitFor(() => expect(list.rows).toBeDefined());
          },
          fail: reject,
          signal,
        }),
      ),
    ...options,
  });
  onTestFinished(() => {
    list.close();
    feed.feed.close();
  });
  /** Each state that a subscriber was told of. */
  const seen: string[] = [];
  list.subscribe(() =>
    seen.push(`${list.status} ${list.rows.map(({ id, status }) => `${id}:${status}`)}`),
  );
  const fetch = async (nth: number) => {
    await expect.poll(() => fetches.length).toBeGreaterThan(nth);
    return fetches[nth] as (typeof fetches)[number];
  };
  return { ...feed, list, fetches, fetch, seen };
}

export const rows = (list: LiveList<Order>) => list.rows.map(({ id, status }) => `${id}:${status}`);

export async function live(
  options: Partial<ListOptions<Order>> = {},
  first: Order[] = [order(1), order(2)],
) {
  const made = start(options);
  made.ready();
  const { answer } = await made.fetch(0);
  await answer({ rows: first, cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  return made;
}
