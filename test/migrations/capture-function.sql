#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := '{all}';
  bytes integer := 0; problem text; exact boolean := true; discarded boolean := false;
  appended text;
begin
  for attempt in 1..3 loop
    exit when tg_op = 'TRUNCATE';
    begin
      reach := '{}';
      if tg_op = 'DELETE' then reach := array_remove(array['role:staff', case when num_nulls(old.seller) = 0 and octet_length('user:' || format('%s', old.seller)) <= 200 then 'user:' || format('%s', old.seller) end, case when num_nulls(old.buyer) = 0 and octet_length('user:' || format('%s', old.buyer)) <= 200 then 'user:' || format('%s', old.buyer) end]::text[], null);
      else reach := array_remove(array['role:staff', case when num_nulls(new.seller) = 0 and octet_length('user:' || format('%s', new.seller)) <= 200 then 'user:' || format('%s', new.seller) end, case when num_nulls(new.buyer) = 0 and octet_length('user:' || format('%s', new.buyer)) <= 200 then 'user:' || format('%s', new.buyer) end]::text[], null); end if;
      if tg_op = 'UPDATE' then
        reach := array(select distinct unnest(reach || array_remove(array['role:staff', case when num_nulls(old.seller) = 0 and octet_length('user:' || format('%s', old.seller)) <= 200 then 'user:' || format('%s', old.seller) end, case when num_nulls(old.buyer) = 0 and octet_length('user:' || format('%s', old.buyer)) <= 200 then 'user:' || format('%s', old.buyer) end]::text[], null)));
      end if;
      if tg_op <> 'DELETE' then new.total := (select (cents || ' ct'::text) from (select rowcast.exactly(new.cents, null::pg_catalog.int4) as cents) r); end if;
      if tg_op <> 'INSERT' then old.total := (select (cents || ' ct'::text) from (select rowcast.exactly(old.cents, null::pg_catalog.int4) as cents) r); end if;
      if tg_op = 'UPDATE' and not (row(old.buyer, old.id, old.seller, old.total)::record *<> row(new.buyer, new.id, new.seller, new.total)::record) then return null; end if;
      if tg_op = 'DELETE' then
        if exact then image := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then row_to_json(row(rowcast.exactly(old.id, null::pg_catalog.int8), rowcast.exactly(old.buyer, null::pg_catalog.text), rowcast.exactly(old.total, null::pg_catalog.text))::rowcast.row_3) end; else image := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then rowcast.json_of(tg_relid, '{id,buyer,total}'::text[], old) end; end if;
        previous := image;
      else
        if exact then image := case when coalesce(pg_column_size(new.buyer), 0) + coalesce(pg_column_size(new.total), 0) <= 262144 then row_to_json(row(rowcast.exactly(new.id, null::pg_catalog.int8), rowcast.exactly(new.buyer, null::pg_catalog.text), rowcast.exactly(new.total, null::pg_catalog.text))::rowcast.row_3) end; else image := case when coalesce(pg_column_size(new.buyer), 0) + coalesce(pg_column_size(new.total), 0) <= 262144 then rowcast.json_of(tg_relid, '{id,buyer,total}'::text[], new) end; end if;
        if tg_op = 'UPDATE' then if exact then previous := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then row_to_json(row(rowcast.exactly(old.id, null::pg_catalog.int8), rowcast.exactly(old.buyer, null::pg_catalog.text), rowcast.exactly(old.total, null::pg_catalog.text))::rowcast.row_3) end; else previous := case when coalesce(pg_column_size(old.buyer), 0) + coalesce(pg_column_size(old.total), 0) <= 262144 then rowcast.json_of(tg_relid, '{id,buyer,total}'::text[], old) end; end if; end if;
      end if;
      problem := null;
    exception when others or assert_failure then
      problem := sqlstate || ': ' || sqlerrm;
      image := null; previous := null;
      if not discarded and sqlstate in ('42804', '0A000', 'XX000') then
        discarded := true;
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
      if exact and sqlstate ~ '^(42|3F|XX)' then
        exact := false;
        continue;
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
  if bytes > 1000 then
    for attempt in 1..2 loop
      begin
        if attempt = 1 and exact then
          if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select rowcast.exactly(old.id, null::pg_catalog.int8) as id) r); else identity := (select row_to_json(r.*) from (select rowcast.exactly(new.id, null::pg_catalog.int8) as id) r); end if;
        elsif tg_op = 'DELETE' then identity := rowcast.json_of(tg_relid, '{id}'::text[], old);
        else identity := rowcast.json_of(tg_relid, '{id}'::text[], new);
        end if;
        if pg_column_size(identity) > 1000 then identity := 'null'; end if;
        exit;
      exception when others or assert_failure then
        identity := 'null';
      end;
    end loop;
    if bytes > 131072 then image := null; previous := null; end if;
  end if;
  -- A simple expression: a third of what PERFORM costs.
  appended := rowcast.append_3(tg_op, reach, image, previous, identity, left(problem, 500));
  return null;
end
