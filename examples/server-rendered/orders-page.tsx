import type { ReactNode } from 'react';
import { RowcastProvider, useRows } from 'rowcast/react';
import { fetchOrders, getToken } from '../api/client.ts';
import type { Order, OrderList } from '../api/orders.ts';
import { Orders } from '../react/orders.tsx';

export interface Initial {
  readonly orders: OrderList;
  readonly websocketUrl: string;
}

/** Rendered by the server, then by the browser: it goes on from the cursor and fetches nothing. */
export function OrdersPage({ orders, websocketUrl }: Initial): ReactNode {
  return (
    <RowcastProvider url={websocketUrl} getToken={getToken} cursor={orders.cursor}>
      <h1>Orders</h1>
      <List initial={orders} />
    </RowcastProvider>
  );
}

function List({ initial }: { initial: OrderList }): ReactNode {
  const { rows } = useRows<Order>({
    entity: 'ORDER',
    initial,
    fetch: fetchOrders,
    compare: (one, other) => one.id - other.id,
  });
  return <Orders rows={rows} />;
}
