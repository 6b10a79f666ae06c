/** The API, as the pages of the examples call it. */
import type { OrderList } from './orders.ts';

export async function fetchOrders({ signal }: { signal: AbortSignal }): Promise<OrderList> {
  const response = await fetch('/api/orders', { signal });
  if (!response.ok) throw new Error(`the orders: ${response.status}`);
  return (await response.json()) as OrderList;
}

export async function postOrder(item: string): Promise<{ id: string; tx: string }> {
  const response = await fetch('/api/orders', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ item }),
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as { id: string; tx: string };
}

export const getToken = () => fetch('/api/token').then((response) => response.text());

export async function fetchConfig(): Promise<{ websocketUrl: string }> {
  return (await (await fetch('/api/config')).json()) as { websocketUrl: string };
}
