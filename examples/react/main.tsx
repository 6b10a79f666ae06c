/** React: `useRows` has the table, `useRowcast` the messages of the application's own. */
import { type ReactNode, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { TableMessages } from 'rowcast/client';
import { RowcastProvider, useRowcast, useRows } from 'rowcast/react';
import { fetchConfig, fetchOrders, getToken, postOrder } from '../api/client.ts';
import type { Order, OwnMessages } from '../api/orders.ts';
import { OrderForm } from './order-form.tsx';
import { Orders } from './orders.tsx';

type Messages = TableMessages<'ORDER', Order> & OwnMessages;

function List(): ReactNode {
  const { rows, error } = useRows<Order>({
    entity: 'ORDER',
    fetch: fetchOrders,
    compare: (one, other) => one.id - other.id,
  });
  return (
    <>
      <Orders rows={rows} />
      {error && <p role="alert">{error.message}</p>}
    </>
  );
}

function Confirmations(): ReactNode {
  const [item, setItem] = useState('');
  useRowcast<Messages, null>(
    {
      onMessage(message) {
        if (message.type === 'confirmed' && !message.truncated) setItem(message.data.item);
      },
    },
    () => null,
  );
  return item && <p>Confirmed: {item}</p>;
}

/** Rendered when the status changes, and not for each message. */
function Status(): ReactNode {
  return <small>{useRowcast({}, ({ status }) => status)}</small>;
}

const { websocketUrl } = await fetchConfig();
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <RowcastProvider url={websocketUrl} getToken={getToken}>
      <h1>
        Orders <Status />
      </h1>
      <OrderForm order={postOrder} />
      <List />
      <Confirmations />
    </RowcastProvider>
  </StrictMode>,
);
