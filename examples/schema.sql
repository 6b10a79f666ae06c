-- The application's own migration, after Rowcast's. Its `orders` have bigint keys: strings for pg,
-- numbers in messages.
create table orders (
  id bigint generated always as identity primary key,
  customer_id bigint not null,
  item text not null,
  status text not null default 'open'
);
-- Each customer hears of his own orders.
select rowcast.watch('orders', entity => 'ORDER', audience => '{user:<customer_id>}');
