/** TanStack DB: an order is on the screen at once, and gives way to its row when that is here. */
import { createCollection, useLiveQuery } from '@tanstack/react-db';
import type { ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'rowcast/client';
import { rowcastCollectionOptions } from 'rowcast/tanstack-db';
import { fetchConfig, fetchOrders, getToken, postOrder } from '../api/client.ts';
import type { Order } from '../api/orders.ts';
import { OrderForm } from '../react/order-form.tsx';
import { Orders } from '../react/orders.tsx';

const { websocketUrl } = await fetchConfig();
const feed = connect({ url: websocketUrl, getToken });
const orders = createCollection({
  ...rowcastCollectionOptions<Order>({ feed, entity: 'ORDER', fetch: fetchOrders }),
  async onInsert({ transaction }) {
    for (const { modified } of transaction.mutations) {
      const { tx } = await postOrder(modified.item);
      // The row is in the collection now: the one that was shown meanwhile may go.
      await feed.waitFor(tx);
    }
  },
});

/** Until Postgres has given the order its own key. */
let nextKey = -1;

async function order(item: string): Promise<void> {
  const shown = orders.insert({ id: nextKey--, customer_id: 0, item, status: 'sending' });
  await shown.isPersisted.promise;
}

function List(): ReactNode {
  const { data } = useLiveQuery((query) =>
    query.from({ order: orders }).orderBy(({ order: row }) => row.id),
  );
  return <Orders rows={data} />;
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <>
    <h1>Orders</h1>
    <OrderForm order={order} />
    <List />
  </>,
);
