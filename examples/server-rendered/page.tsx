import { renderToString } from 'react-dom/server';
import type { OrderList } from '../api/orders.ts';
import { OrdersPage } from './orders-page.tsx';

/** The page with its rows, and the list that the browser goes on from. */
export function serverRendered(orders: OrderList, websocketUrl: string): string {
  const initial = { orders, websocketUrl };
  // A row may hold what would end the element.
  const json = JSON.stringify(initial).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Orders</title>
    <link rel="icon" href="data:," />
  </head>
  <body>
    <div id="root">${renderToString(<OrdersPage {...initial} />)}</div>
    <script id="initial" type="application/json">${json}</script>
    <script type="module" src="/assets/server-rendered.js"></script>
  </body>
</html>`;
}
