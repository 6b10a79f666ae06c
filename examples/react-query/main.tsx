/** React Query: `syncQuery` keeps the data of a query; components only read it. */
import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'rowcast/client';
import { syncQuery } from 'rowcast/react-query';
import { fetchConfig, fetchOrders, getToken, postOrder } from '../api/client.ts';
import type { Order } from '../api/orders.ts';
import { OrderForm } from '../react/order-form.tsx';
import { Orders } from '../react/orders.tsx';

const queryClient = new QueryClient();
const { websocketUrl } = await fetchConfig();
const feed = connect({ url: websocketUrl, getToken });
const orders = syncQuery<Order>(queryClient, {
  feed,
  queryKey: ['orders'],
  entity: 'ORDER',
  fetch: fetchOrders,
  compare: (one, other) => one.id - other.id,
});

function List(): ReactNode {
  const { data = [], error } = useQuery(orders.query);
  return (
    <>
      <Orders rows={data} />
      {error && <p role="alert">{error.message}</p>}
    </>
  );
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <QueryClientProvider client={queryClient}>
    <h1>Orders</h1>
    <OrderForm order={postOrder} />
    <List />
  </QueryClientProvider>,
);
