import { hydrateRoot } from 'react-dom/client';
import { type Initial, OrdersPage } from './orders-page.tsx';

const initial = JSON.parse(document.getElementById('initial')?.textContent ?? '') as Initial;
hydrateRoot(document.getElementById('root') as HTMLElement, <OrdersPage {...initial} />);
