import { createCollection } from '@tanstack/db';
import { QueryClient, QueryObserver } from '@tanstack/react-query';
import { expect, onTestFinished, test } from 'vitest';
import type { Fetched } from '../../src/list/live-list.ts';
import { rowcastCollectionOptions } from '../../src/tanstack/collection.ts';
import { syncQuery } from '../../src/tanstack/query.ts';
import { fakeFeed } from '../../src/testing/fake-feed.ts';

interface Order {
  id: number | string;
  status: string;
}

function start() {
  const fake = fakeFeed();
  onTestFinished(() => fake.feed.close());
  const table: Order[] = [
    { id: '1', status: 'new' },
    { id: '2', status: 'new' },
  ];
  let failing = 0;
  let fetches = 0;
  const fetch = async (): Promise<Fetched<Order>> => {
    fetches++;
    if (failing-- > 0) throw new Error('503');
    return { rows: table, cursor: fake.snapshot() };
  };
  const fail = (times: number) => {
    failing = times;
  };
  return { ...fake, fetch, fail, fetches: () => fetches, entity: 'ORDER' };
}

test('a collection of TanStack DB is the table: a batch a message, an insert of a known key is an update', async () => {
  const { feed, push, ready, cut, fetch, entity } = start();
  const orders = createCollection(rowcastCollectionOptions<Order>({ feed, entity, fetch }));
  const batches: string[][] = [];
  orders.subscribeChanges((changes) =>
    batches.push(changes.map(({ type, key, value }) => `${type} ${key} ${value.status}`)),
  );
  const preloaded = orders.preload();
  ready();
  await preloaded;
  const rows = () => orders.toArray.map(({ id, status }) => `${id} ${status}`).sort();
  expect(orders.status).toBe('ready');
  expect(rows()).toEqual(['1 new', '2 new']);
  batches.length = 0;
  push(
    { type: 'NEW_ORDER', data: { id: 1, status: 'again' } },
    { type: 'NEW_ORDER', data: { id: 3, status: 'new' } },
    { type: 'DELETE_ORDER', data: { id: 2 } },
  );
  await expect.poll(rows).toEqual(['1 again', '3 new']);
  expect(batches).toEqual([['update 1 again', 'insert 3 new', 'delete 2 new']]);
  push({ type: 'TRUNCATE_ORDER' });
  await expect.poll(rows).toEqual([]);
  cut();
  ready({ recovered: false });
  await expect.poll(rows).toEqual(['1 new', '2 new']);
  await orders.cleanup();
});

test('an optimistic insert stays until the messages of its transaction are there', async () => {
  const { feed, push, ready, fetch, entity, snapshot } = start();
  let answer: (tx: string) => void = () => undefined;
  const orders = createCollection({
    ...rowcastCollectionOptions<Order>({ feed, entity, fetch }),
    onInsert: async () => {
      const tx = await new Promise<string>((resolve) => {
        answer = resolve;
      });
      await feed.waitFor(tx);
    },
  });
  ready();
  await orders.preload();
  const inserting = orders.insert({ id: 3, status: 'mine' });
  expect(orders.get('3')?.status).toBe('mine');
  const tx = snapshot().split('.')[0] as string;
  answer(tx);
  push({ type: 'NEW_ORDER', data: { id: 3, status: 'as stored' } });
  await inserting.isPersisted.promise;
  expect(orders.get('3')?.status).toBe('as stored');
  await orders.cleanup();
});

test('a collection that loses its last row is not truncated; TRUNCATE does it', async () => {
  const { feed, push, ready, fetch, entity } = start();
  const options = rowcastCollectionOptions<Order>({ feed, entity, fetch });
  const truncated: string[] = [];
  const { sync } = options.sync;
  const orders = createCollection({
    ...options,
    sync: {
      ...options.sync,
      sync: (given) =>
        sync({
          ...given,
          truncate: () => {
            truncated.push('truncate');
            given.truncate();
          },
        }),
    },
  });
  ready();
  await orders.preload();
  const ids = () => orders.toArray.map(({ id }) => String(id)).sort();
  push({ type: 'DELETE_ORDER', data: { id: 1 } }, { type: 'DELETE_ORDER', data: { id: 2 } });
  await expect.poll(ids).toEqual([]);
  expect(truncated).toEqual([]);
  push({ type: 'NEW_ORDER', data: { id: 4, status: 'new' } });
  await expect.poll(ids).toEqual(['4']);
  push({ type: 'TRUNCATE_ORDER' }, { type: 'NEW_ORDER', data: { id: 5, status: 'new' } });
  await expect.poll(ids).toEqual(['5']);
  expect(truncated).toEqual(['truncate']);
});

test('a collection that starts again does not show what it was given at first', async () => {
  const { feed, push, ready, fetch, entity, snapshot } = start();
  ready();
  await expect.poll(() => feed.status).toBe('live');
  const initial = { rows: [{ id: '7', status: 'long ago' }], cursor: snapshot() };
  const orders = createCollection(
    rowcastCollectionOptions<Order>({ feed, entity, fetch, initial }),
  );
  await orders.preload();
  expect(orders.toArray.map(({ id }) => id)).toEqual(['7']);
  await orders.cleanup();
  push({ type: 'DELETE_ORDER', data: { id: 7 } });
  await orders.preload();
  expect(orders.toArray.map(({ id }) => id).sort()).toEqual(['1', '2']);
  await orders.cleanup();
});

test('a query of React Query has the rows of the table, is told of errors, and refetches when it is invalidated', async () => {
  const { feed, push, ready, fetch, fail, fetches, entity } = start();
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const queryKey = ['orders'];
  const orders = syncQuery<Order>(client, { feed, queryKey, entity, fetch });
  onTestFinished(() => orders.stop());
  const observer = new QueryObserver(client, orders.query);
  onTestFinished(observer.subscribe(() => undefined));
  const seen: unknown[] = [];
  observer.subscribe(({ data }) => seen.push(data?.length));
  const rows = () => observer.getCurrentResult().data?.map(({ id, status }) => `${id} ${status}`);
  // READY ends the fetch that the query has begun, and makes another.
  ready();
  await expect.poll(rows).toEqual(['1 new', '2 new']);
  expect(seen).not.toContain(0);
  push({ type: 'UPDATE_ORDER', data: { id: 2, status: 'paid' } });
  await expect.poll(rows).toEqual(['1 new', '2 paid']);
  const before = fetches();
  await client.invalidateQueries({ queryKey });
  await expect.poll(rows).toEqual(['1 new', '2 new']);
  expect(fetches()).toBe(before + 1);
  fail(1);
  // The list soon fetches by itself: nobody may look in time.
  const refetched = client.refetchQueries({ queryKey }, { throwOnError: true });
  await expect(refetched).rejects.toThrow('503');
  await expect.poll(() => observer.getCurrentResult().status).toBe('success');
  orders.stop();
  await expect(orders.query.queryFn()).rejects.toThrow('syncQuery: stopped');
  client.clear();
});

test('a query begins with the rows that a server has fetched', async () => {
  const { feed, ready, fetch, fetches, entity, snapshot } = start();
  ready();
  await expect.poll(() => feed.status).toBe('live');
  const initial = { rows: [{ id: '7', status: 'rendered' }], cursor: snapshot() };
  const client = new QueryClient();
  const orders = syncQuery<Order>(client, { feed, queryKey: ['o'], entity, fetch, initial });
  expect(client.getQueryData(['o'])).toEqual(initial.rows);
  expect(fetches()).toBe(0);
  orders.stop();
});
