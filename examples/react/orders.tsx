import type { ReactNode } from 'react';
import type { Order } from '../api/orders.ts';

export function Orders({ rows }: { rows: readonly Order[] }): ReactNode {
  return (
    <ul>
      {rows.map(({ id, item, status }) => (
        <li key={id}>
          {item}: {status}
        </li>
      ))}
    </ul>
  );
}
