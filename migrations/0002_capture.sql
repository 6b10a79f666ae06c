-- Up Migration
-- What is watched, and the triggers that append to the log.
-- Locks: none here. rowcast.watch() takes SHARE ROW EXCLUSIVE on the table it is given and its partitions
-- (ACCESS EXCLUSIVE where it replaces triggers), rowcast.unwatch() ACCESS EXCLUSIVE, until the transaction ends. Both give up after 3 s,
-- because writers queue behind whoever waits for such a lock: call them again then.
-- A writer needs no right on the schema: capture runs as the owner of the table. Not as Rowcast's: making JSON of a row
-- calls casts that the table's owner may have written.

-- Capture functions are numbered: names made of table names could be those of two tables.
create sequence rowcast.capture_number;

-- One row a table; rowcast.watched is the view to read. `name` is what the table was called when it was watched: whoever swaps a table
-- for a new one (an online schema change) means the name.
create table rowcast.capture (
  target regclass primary key,
  name text not null,
  entity text not null,
  audience text[] not null,
  columns text[],
  operations text[] not null,
  include_old boolean not null,
  channel text not null,
  function text not null,
  watched_at timestamptz not null default now()
);
comment on table rowcast.capture is 'What rowcast.watch() installed.';
select rowcast.keep_apart('rowcast.capture');

-- The table that has this name (as name_of() writes it), if any. Not to_regclass(): that takes a right on the schema.
create function rowcast.named(name text) returns regclass language sql stable
set search_path = pg_catalog, pg_temp as $$
  select c.oid from parse_ident(name) part join pg_namespace n on n.nspname = part[1] join pg_class c on c.relnamespace = n.oid and c.relname = part[2]
  where c.relkind in ('r', 'p')
$$;

-- Forgets tables that were dropped, and their capture functions; not those whose name another table has that is not watched.
create function rowcast.forget_dropped() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  gone text;
begin
  for gone in delete from rowcast.capture c where not exists (select from pg_class r where r.oid = c.target)
    and (rowcast.named(c.name) is null or exists (select from rowcast.capture o where o.target = rowcast.named(c.name))) returning c.function loop
    execute format('drop function if exists rowcast.%I()', gone);
  end loop;
end $$;

-- First key of Rowcast's advisory locks ('rowc' in ASCII). The second tells which: 1 the doorbell
-- (held: the relay sleeps, ring it), 2 the lease, 3 a watch() that is under way. Advisory locks belong to one database.
create function rowcast.lock_class() returns integer language sql immutable as 'select x''726f7763''::int';

-- A name of at most 63 bytes (NAMEDATALEN - 1). Of a longer one the start is kept, and a hash.
create function rowcast.fit_name(name text) returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  start text := name;
begin
  if octet_length(name) <= 63 then return name; end if;
  while octet_length(start) > 46 loop start := left(start, -1); end loop;
  return start || '_' || left(md5(name), 16);
end $$;

-- A longer term can be no connection's: user ids and room names are shorter (src/lambdas/authenticate.ts).
create function rowcast.max_term_bytes() returns integer language sql immutable as 'select 300';

-- No frame is larger: API Gateway's limit of a message
-- (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
create function rowcast.max_message_bytes() returns integer language sql immutable as 'select 131072';

-- Raises invalid_parameter_value for what is no list of audience terms. With `templates`, a term may
-- name columns: user:<recipient_id>.
create function rowcast.check_audience(audience text[], templates boolean) returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text;
begin
  if coalesce(cardinality(audience), 0) = 0 then
    raise exception 'rowcast: audience is empty' using errcode = 'invalid_parameter_value',
      hint = 'Name at least one term: all, user:ID, room:NAME, role:NAME or connection:ID.';
  elsif array_ndims(audience) <> 1 then
    raise exception 'rowcast: audience is a list of lists' using errcode = 'invalid_parameter_value', hint = 'Write {user:1,role:admin}.';
  elsif cardinality(audience) > 1000 then
    raise exception 'rowcast: audience has % terms', cardinality(audience) using errcode = 'invalid_parameter_value',
      hint = 'At most 1000; let the many join a room and address that.';
  end if;
  foreach term in array audience loop
    if term is null or term !~ '^(all|(user|room|role|connection):.+)$' then
      raise exception 'rowcast: % is not an audience term', quote_nullable(left(term, 100)) using errcode = 'invalid_parameter_value',
        hint = 'A term is all, user:ID, room:NAME, role:NAME or connection:ID.';
    elsif octet_length(term) > rowcast.max_term_bytes() then
      raise exception 'rowcast: audience term %… is longer than % bytes', left(term, 40), rowcast.max_term_bytes() using errcode = 'invalid_parameter_value',
        hint = 'Use a shorter user id or room name.';
    elsif templates and regexp_replace(term, '<[^<>]+>', '', 'g') ~ '[<>]' then
      raise exception 'rowcast: audience term % has an unpaired < or >', quote_literal(term) using errcode = 'invalid_parameter_value',
        hint = 'A column stands in angle brackets: user:<recipient_id>.';
    end if;
  end loop;
end $$;

-- The columns of `target` that its audience terms name.
create function rowcast.audience_columns(audience text[]) returns text[] language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct m[1]), '{}') from unnest(audience) t, regexp_matches(t, '<([^<>]+)>', 'g') m
$$;

-- SQL for the audience of one row; `record` is new or old. A term with a null column is left out, and so is one
-- that is too long to be anybody's.
create function rowcast.audience_sql(audience text[], record text) returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text; part text[]; parts text[]; terms text[] := '{}';
begin
  if rowcast.audience_columns(audience) = '{}' then return quote_literal(audience) || '::text[]'; end if;
  foreach term in array audience loop
    if rowcast.audience_columns(array[term]) = '{}' then
      terms := terms || quote_literal(term);
      continue;
    end if;
    parts := '{}';
    for part in select regexp_matches(term, '<([^<>]+)>|([^<>]+)', 'g') loop
      parts := parts || case when part[1] is null then quote_literal(part[2]) else format('%s.%I::text', record, part[1]) end;
    end loop;
    term := array_to_string(parts, ' || ');
    terms := terms || format('case when octet_length(%1$s) <= %2$s then %1$s end', term, rowcast.max_term_bytes());
  end loop;
  return 'array_remove(array[' || array_to_string(terms, ', ') || ']::text[], null)';
end $$;

-- SQL for some columns of one row as JSON; null stands for all columns, none for JSON's null.
create function rowcast.json_sql(columns text[], record text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select case
    when columns is null then format('row_to_json(%s)', record)
    when columns = '{}' then '''null''::json'
    else format('(select row_to_json(r.*) from (select %s) r)', (select string_agg(format('%s.%I', record, c), ', ' order by o) from unnest(columns) with ordinality u(c, o)))
  end
$$;

-- SQL for what leaves the database of one row. Null for a row that is surely too large for a frame: its JSON is not even made.
-- 256 KiB as stored, most often compressed, is more than MAX_FRAME_BYTES's default in JSON for any built-in type.
create function rowcast.image_sql(w rowcast.capture, record text) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format('case when %s <= 262144 then %s end',
    case when w.columns is null then format('pg_column_size(%s)', record)
      else coalesce((select string_agg(format('coalesce(pg_column_size(%s.%I), 0)', record, a.attname), ' + ' order by a.attnum) from pg_attribute a
        where a.attrelid = w.target and a.attnum > 0 and a.attname = any (w.columns) and a.attlen = -1), '0') end,
    rowcast.json_sql(w.columns, record))
$$;

-- The primary key's columns in their order, without those that it INCLUDEs; of those only the ones that may leave the database.
create function rowcast.key_columns(w rowcast.capture) returns text[] language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(a.attname::text order by k.place), '{}')
  from pg_index i cross join unnest(i.indkey::int2[]) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.place <= i.indnkeyatts
  where i.indrelid = w.target and i.indisprimary and (w.columns is null or a.attname = any (w.columns))
$$;

-- Whether an update changed anything of what leaves the database, or who hears of it; compared as
-- stored, since not every type has an equality. Of virtual columns only those that are named: what they are made of is compared.
create function rowcast.changed_sql(w rowcast.capture) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select case when w.columns is null then 'old *<> new' else
    (select format('row(%s)::record *<> row(%s)::record', string_agg(format('old.%I', c), ', '), string_agg(format('new.%I', c), ', '))
    from (select distinct c from unnest(w.columns || rowcast.audience_columns(w.audience)) c) named) end
$$;

-- SQL that fills in the virtual generated columns (Postgres 18) of one row: a trigger finds null in them.
create function rowcast.virtual_sql(w rowcast.capture, record text) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select string_agg(format('%1$s.%2$I := (select %3$s from (select (%1$s).*) r);', record, a.attname, pg_get_expr(d.adbin, d.adrelid)), ' ' order by a.attnum)
  from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
    and (w.columns is null or a.attname = any (w.columns || rowcast.audience_columns(w.audience)))
$$;

-- The body of a table's capture function, written for the table: a row costs one INSERT with a kept plan, and no look-up.
-- Nothing in it fails the writer's statement, whatever a later ALTER does to the table: where a column it names was renamed, nothing of
-- the row leaves the database; where its JSON cannot be made (a cast or a virtual column fails, or it is over 1 GB), the
-- event has the key only, for whom it is where that can be told. `problem` keeps why, and a warning tells the writer. That takes a subtransaction a row: 3 of 45 µs.
-- Where the type of a column was changed, plans that sessions keep are of the former type (or of one that is gone): a session lets go of them once
-- (DISCARD PLANS makes its prepared statements plan again, and no more), and makes the event anew.
-- `key` is stored for images over 1,000 bytes only: no smaller row can be too large for a frame
-- (MAX_FRAME_BYTES is at least 2,000), and no larger key is stored. Images that fit no message are not stored either.
create function rowcast.capture_body(w rowcast.capture) returns text language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  dynamic boolean := rowcast.audience_columns(w.audience) <> '{}';
  keys text[] := rowcast.key_columns(w);
  source text := (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.target);
begin
  return format($body$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := %1$L; bytes integer := 0; problem text;
begin
  for attempt in 1..2 loop
    exit when tg_op = 'TRUNCATE';
    begin%2$s
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
      if sqlstate = '42703' and exists (select from unnest(%11$L::text[]) named (name) where not exists (
        select from pg_attribute a where a.attrelid = tg_relid and a.attname = named.name and not a.attisdropped)) then
        raise warning 'rowcast: a column that %% is watched by was renamed or dropped; call rowcast.watch() with its new name and the other arguments', tg_relid::regclass;
        reach := '{}';
      else
        raise warning 'rowcast: a row of %% is sent as its key, because making JSON of it failed: %%', tg_relid::regclass, sqlerrm;
      end if;
    end;
    bytes := coalesce(pg_column_size(image)%3$s, 1000000000);
    exit;
  end loop;
  for attempt in 1..2 loop
    exit when bytes <= 1000;
    begin
      if tg_op = 'DELETE' then identity := %4$s; else identity := %5$s; end if;
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
    if bytes > %6$s then image := null; previous := null; end if;
    exit;
  end loop;
  insert into rowcast.event (type, audience, data, old, source, key, problem)
    values (case tg_op when 'INSERT' then 'NEW' else tg_op end || %7$L, reach, image, previous, %8$L, identity, left(problem, 500));
  if not pg_try_advisory_xact_lock_shared(%9$s, 1) then perform pg_notify(%10$L, ''); end if;
  return null;
end $body$,
    -- A TRUNCATE has no row to take an audience from: whoever may have seen any row hears of it.
    case when dynamic then '{all}' else w.audience::text end,
    rowcast.compute_sql(w, dynamic),
    case when w.include_old then ' + case tg_op when ''INSERT'' then 0 else pg_column_size(previous) end' end,
    rowcast.json_sql(keys, 'old'),
    rowcast.json_sql(keys, 'new'),
    rowcast.max_message_bytes(),
    '_' || w.entity,
    source,
    rowcast.lock_class(),
    w.channel,
    w.columns || rowcast.audience_columns(w.audience));
end $$;

-- The part of it that fills in `reach`, `image` and `previous`. The audience comes first, so that an image that fails leaves it as it is;
-- after the virtual columns only where it names one. A trigger with a WHEN would compute those where nothing catches an error.
create function rowcast.compute_sql(w rowcast.capture, dynamic boolean) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select concat_ws(E'\n      ', '',
    -- Until it is known who hears of it, nobody does.
    case when dynamic then 'reach := ''{}'';' end,
    case when w.columns is null then format('if tg_op = ''UPDATE'' and not (%s) then return null; end if;', rowcast.changed_sql(w)) end,
    case when virtual_first then fill_virtual end,
    case when dynamic then format('if tg_op = ''DELETE'' then reach := %s;', rowcast.audience_sql(w.audience, 'old')) end,
    case when dynamic then format('else reach := %s; end if;', rowcast.audience_sql(w.audience, 'new')) end,
    -- Whoever loses sight of a row hears of it too.
    case when dynamic then format('if tg_op = ''UPDATE'' then reach := array(select distinct unnest(reach || %s)); end if;', rowcast.audience_sql(w.audience, 'old')) end,
    case when not virtual_first then fill_virtual end,
    case when w.columns is not null then format('if tg_op = ''UPDATE'' and not (%s) then return null; end if;', rowcast.changed_sql(w)) end,
    'if tg_op = ''DELETE'' then',
    format('  image := %s;', rowcast.image_sql(w, 'old')),
    case when w.include_old then '  previous := image;' end,
    'else',
    format('  image := %s;', rowcast.image_sql(w, 'new')),
    case when w.include_old then format('  if tg_op = ''UPDATE'' then previous := %s; end if;', rowcast.image_sql(w, 'old')) end,
    'end if;')
  from (select exists (select from pg_attribute a where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
      and a.attname = any (rowcast.audience_columns(w.audience))) as virtual_first,
    nullif(concat_ws(' ', 'if tg_op <> ''DELETE'' then ' || rowcast.virtual_sql(w, 'new') || ' end if;',
      'if tg_op <> ''INSERT'' then ' || rowcast.virtual_sql(w, 'old') || ' end if;'), '') as fill_virtual) v
$$;

-- Down Migration
-- Locks: none; 0003_watch.sql took the triggers away.
drop function rowcast.compute_sql(rowcast.capture, boolean);
drop function rowcast.capture_body(rowcast.capture);
drop function rowcast.virtual_sql(rowcast.capture, text);
drop function rowcast.changed_sql(rowcast.capture);
drop function rowcast.key_columns(rowcast.capture);
drop function rowcast.image_sql(rowcast.capture, text);
drop function rowcast.json_sql(text[], text);
drop function rowcast.audience_sql(text[], text);
drop function rowcast.audience_columns(text[]);
drop function rowcast.check_audience(text[], boolean);
drop function rowcast.max_message_bytes();
drop function rowcast.max_term_bytes();
drop function rowcast.fit_name(text);
drop function rowcast.lock_class();
drop function rowcast.forget_dropped();
drop function rowcast.named(text);
drop table rowcast.capture;
drop sequence rowcast.capture_number;
