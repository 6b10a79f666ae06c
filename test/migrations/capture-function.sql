#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := '{all}';
  bytes integer := 0; problem text;
begin
  for attempt in 1..2 loop
    exit when tg_op = 'TRUNCATE';
    begin
      reach := '{}';
      if tg_op = 'DELETE' then reach := array_remove(array['role:staff', case when octet_length('user:' || old.seller::text) <= 300 then 'user:' || old.seller::text end, case when octet_length('user:' || old.buyer::text) <= 300 then 'user:' || old.buyer::text end]::text[], null);
      else reach := array_remove(array['role:staff', case when octet_length('user:' || new.seller::text) <= 300 then 'user:' || new.seller::text end, case when octet_length('user:' || new.buyer::text) <= 300 then 'user:' || new.buyer::text end]::text[], null); end if;
      if tg_op = 'UPDATE' then
        reach := array(select distinct unnest(reach || array_remove(array['role:staff', case when octet_length('user:' || old.seller::text) <= 300 then 'user:' || old.seller::text end, case when octet_length('user:' || old.buyer::text) <= 300 then 'user:' || old.buyer::text end]::text[], null)));
      end if;
      if tg_op <> 'DELETE' then new.total := (select (cents || ' ct'::text) from (select (new).*) r); end if;
      if tg_op <> 'INSERT' then old.total := (select (cents || ' ct'::text) from (select (old).*) r); end if;
      if tg_op = 'UPDATE' and not (row(old.buyer, old.id, old.seller, old.total)::record *<> row(new.buyer, new.id, new.seller, new.total)::record) then return null; end if;
      if tg_op = 'DELETE' then
        image := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then (select row_to_json(r.*) from (select old.id, old.buyer, old.total) r) end;
        previous := image;
      else
        image := case when coalesce(pg_column_size(new.buyer), 0) + coalesce(pg_column_size(new.total), 0) <= 262144 then (select row_to_json(r.*) from (select new.id, new.buyer, new.total) r) end;
        if tg_op = 'UPDATE' then previous := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then (select row_to_json(r.*) from (select old.id, old.buyer, old.total) r) end; end if;
      end if;
      problem := null;
    exception when others or assert_failure then
      problem := sqlstate || ': ' || sqlerrm;
      image := null; previous := null;
      if attempt = 1 and sqlstate in ('42804', '0A000', 'XX000') then
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
      if sqlstate = '42703' and exists (
        select from unnest('{id,buyer,total,buyer,seller}'::text[]) named (name)
        where not exists (select from pg_attribute a
          where a.attrelid = tg_relid and a.attname = named.name and not a.attisdropped)) then
        raise warning 'rowcast: a column that % is watched by was renamed or dropped; '
          'call rowcast.watch() with its new name and the other arguments', tg_relid::regclass;
        reach := '{}';
      else
        raise warning 'rowcast: a row of % is sent as its key, because making JSON of it failed: %',
          tg_relid::regclass, sqlerrm;
      end if;
    end;
    bytes := coalesce(pg_column_size(image) + case tg_op when 'INSERT' then 0 else pg_column_size(previous) end, 1000000000);
    exit;
  end loop;
  for attempt in 1..2 loop
    exit when bytes <= 1000;
    begin
      if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select old.id) r); else identity := (select row_to_json(r.*) from (select new.id) r); end if;
      if pg_column_size(identity) > 1000 then identity := 'null'; end if;
    exception when others or assert_failure then
      identity := 'null';
      if attempt = 1 and sqlstate in ('42804', '0A000', 'XX000') then
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
    end;
    if bytes > 131072 then image := null; previous := null; end if;
    exit;
  end loop;
  insert into rowcast.event (type, audience, data, old, source, key, problem)
  values (
    case tg_op when 'INSERT' then 'NEW' else tg_op end || '_ORDERS', reach, image, previous,
    'public.orders', identity, left(problem, 500));
  if not pg_try_advisory_xact_lock_shared(1919907683, 1) then
    perform pg_notify('rowcast_orders', '');
  end if;
  return null;
end
