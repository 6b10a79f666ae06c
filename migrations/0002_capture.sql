-- Up Migration
-- What is watched, and the triggers that append to the log.
-- Locks: none here. rowcast.watch() takes SHARE ROW EXCLUSIVE on the table it is given for an instant
-- (ACCESS EXCLUSIVE where it replaces triggers), rowcast.unwatch() ACCESS EXCLUSIVE. Both give up after 3 s, because writers queue
-- behind whoever waits for such a lock: call them again then.
-- Nobody but the owner has rights on the schema: a writer needs none, since capture runs as the owner.

-- Capture functions are numbered: names made of table names could be those of two tables.
create sequence rowcast.capture_number;

create table rowcast.watched (
  target regclass primary key,
  entity text not null,
  audience text[] not null,
  columns text[],
  operations text[] not null,
  include_old boolean not null,
  channel text not null,
  capture text not null,
  watched_at timestamptz not null default now()
);
comment on table rowcast.watched is 'What rowcast.watch() installed: a row a table.';

-- Forgets tables that were dropped, and their capture functions.
create function rowcast.forget_dropped() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  gone text;
begin
  for gone in delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.target) returning capture loop
    execute format('drop function if exists rowcast.%I()', gone);
  end loop;
end $$;

-- First key of Rowcast's advisory locks ('rowc' in ASCII). The second tells which: 1 the doorbell
-- (held: the relay sleeps, ring it), 2 the lease. Advisory locks belong to one database.
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
  end if;
  foreach term in array audience loop
    if term is null or term !~ '^(all|(user|room|role|connection):.+)$' then
      raise exception 'rowcast: % is not an audience term', quote_nullable(term) using errcode = 'invalid_parameter_value',
        hint = 'A term is all, user:ID, room:NAME, role:NAME or connection:ID.';
    elsif octet_length(term) > 300 then
      raise exception 'rowcast: audience term %… is longer than 300 bytes', left(term, 40) using errcode = 'invalid_parameter_value',
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

-- SQL for the audience of one row; `record` is new or old. A term with a null column is left out.
create function rowcast.audience_sql(audience text[], record text) returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text; part text[]; parts text[]; terms text[] := '{}';
begin
  if rowcast.audience_columns(audience) = '{}' then return quote_literal(audience) || '::text[]'; end if;
  foreach term in array audience loop
    parts := '{}';
    for part in select regexp_matches(term, '<([^<>]+)>|([^<>]+)', 'g') loop
      parts := parts || case when part[1] is null then quote_literal(part[2]) else format('%s.%I::text', record, part[1]) end;
    end loop;
    terms := terms || array_to_string(parts, ' || ');
  end loop;
  return 'array_remove(array[' || array_to_string(terms, ', ') || ']::text[], null)';
end $$;

-- SQL for some columns of one row as JSON; null stands for all columns, none for no JSON.
create function rowcast.image_sql(columns text[], record text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select case
    when columns is null then format('row_to_json(%s)', record)
    when columns = '{}' then 'null::json'
    else format('(select row_to_json(r.*) from (select %s) r)', (select string_agg(format('%s.%I', record, c), ', ' order by o) from unnest(columns) with ordinality u(c, o)))
  end
$$;

-- The primary key's columns in their order; of those only the ones that may leave the database.
create function rowcast.key_columns(w rowcast.watched) returns text[] language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(a.attname::text order by array_position(i.indkey::int2[], a.attnum)), '{}')
  from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = w.target and i.indisprimary and (w.columns is null or a.attname = any (w.columns))
$$;

-- Whether an update changed anything of what leaves the database, or who hears of it; compared as
-- stored, since not every type has an equality.
create function rowcast.changed_sql(w rowcast.watched) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select format('row(%s)::record *<> row(%s)::record', string_agg(format('old.%I', c), ', '), string_agg(format('new.%I', c), ', '))
  from (select distinct c from unnest(w.columns || rowcast.audience_columns(w.audience)) c) named
$$;

-- The body of a table's capture function. It is written for the table, so that a row costs one
-- INSERT with a kept plan, and no look-up. Where it names columns it survives their renaming: the
-- writer's statement succeeds, nothing of the row leaves the database, and a warning says what to do.
-- `key` is stored for images over 1,000 bytes only: no smaller row can be too large for a frame
-- (MAX_FRAME_BYTES is at least 2,000).
create function rowcast.capture_body(w rowcast.watched) returns text language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  dynamic boolean := rowcast.audience_columns(w.audience) <> '{}';
  keys text[] := rowcast.key_columns(w);
  source text := (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.target);
  compute text;
begin
  compute := format($part$
    if tg_op = 'DELETE' then
      image := %1$s;
      reach := %2$s;
      %3$s
    else
      %4$s
      image := %5$s;
      reach := %6$s;
      %7$s
    end if;$part$,
    rowcast.image_sql(w.columns, 'old'),
    rowcast.audience_sql(w.audience, 'old'),
    case when w.include_old then 'previous := image;' end,
    case when w.columns is not null then format($sql$if tg_op = 'UPDATE' and not (%s) then return null; end if;$sql$, rowcast.changed_sql(w)) end,
    rowcast.image_sql(w.columns, 'new'),
    rowcast.audience_sql(w.audience, 'new'),
    case when w.include_old or dynamic then format($sql$if tg_op = 'UPDATE' then %s %s end if;$sql$,
      case when w.include_old then 'previous := ' || rowcast.image_sql(w.columns, 'old') || ';' end,
      -- Whoever loses sight of a row hears of it too.
      case when dynamic then 'reach := array(select distinct unnest(reach || ' || rowcast.audience_sql(w.audience, 'old') || '));' end) end);
  if w.columns is not null or dynamic then
    compute := format($part$
    begin%s
    exception when undefined_column then
      raise warning 'rowcast: a column that %% is watched by was renamed or dropped; call rowcast.watch() again', tg_relid::regclass;
      image := null; previous := null; reach := '{}';
    end;$part$, compute);
  end if;
  return format($body$
declare
  image json; previous json; identity json; reach text[];
begin
  if tg_op = 'TRUNCATE' then
    reach := %1$L;
  else%2$s
    if octet_length(image::text) + coalesce(octet_length(previous::text), 0) > 1000 then
      begin
        if tg_op = 'DELETE' then identity := %3$s; else identity := %4$s; end if;
      exception when undefined_column then
        identity := null;
      end;
    end if;
  end if;
  insert into rowcast.event (type, audience, data, old, source, key)
    values (case tg_op when 'INSERT' then 'NEW' else tg_op end || %5$L, reach, image, previous, %6$L, identity);
  if not pg_try_advisory_xact_lock_shared(%7$s, 1) then perform pg_notify(%8$L, ''); end if;
  return null;
end $body$,
    -- A TRUNCATE has no row to take an audience from: whoever may have seen any row hears of it.
    case when dynamic then '{all}' else w.audience::text end,
    compute,
    rowcast.image_sql(keys, 'old'),
    rowcast.image_sql(keys, 'new'),
    '_' || w.entity,
    source,
    rowcast.lock_class(),
    w.channel);
end $$;

-- Down Migration
-- Locks: none; 0003_watch.sql took the triggers away.
drop function rowcast.capture_body(rowcast.watched);
drop function rowcast.changed_sql(rowcast.watched);
drop function rowcast.key_columns(rowcast.watched);
drop function rowcast.image_sql(text[], text);
drop function rowcast.audience_sql(text[], text);
drop function rowcast.audience_columns(text[]);
drop function rowcast.check_audience(text[], boolean);
drop function rowcast.fit_name(text);
drop function rowcast.lock_class();
drop function rowcast.forget_dropped();
drop table rowcast.watched;
drop sequence rowcast.capture_number;
