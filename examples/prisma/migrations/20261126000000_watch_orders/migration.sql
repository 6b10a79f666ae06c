-- The shadow database has no Rowcast: a migration that watches asks first.
do $$
begin
  if to_regnamespace('rowcast') is not null then
    perform rowcast.watch('orders', entity => 'ORDER', audience => '{user:<customer_id>}');
  end if;
end $$;
