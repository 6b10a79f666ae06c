-- Up Migration
-- What is watched, and the functions that append to the log.
-- Locks: none here. rowcast.watch() takes SHARE ROW EXCLUSIVE on its table and the partitions
-- (ACCESS EXCLUSIVE where it replaces triggers), rowcast.unwatch() ACCESS EXCLUSIVE, until the
-- transaction ends. Both give up after 3 s, because writers queue behind a waiter for such a lock:
-- call them again then.
-- Rights: a writer needs none on the schema, because capture runs as the owner of the table. JSON
-- of a row calls casts that this owner may have written: Rowcast's own role must not run them. The
-- owner has no right on the log. A capture function gives the event to the append function of its
-- table, which runs as Rowcast's role, and makes events of this table only.

-- Capture functions are numbered: names made of table names could be those of two tables.
create sequence rowcast.capture_number;

-- One row a table; rowcast.watched is the view to read. `name` is the table's name when it was
-- watched: an online schema change puts a new table in its place. `shape` has its columns as they
-- were then (shape_of()). `granted`: watch() gave its owner the right to use the schema.
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
  shape jsonb not null,
  granted boolean not null,
  watched_at timestamptz not null default now()
);
comment on table rowcast.capture is 'What rowcast.watch() installed.';
select rowcast.keep_apart('rowcast.capture');
select rowcast.make_private('rowcast.capture');

-- Raises an error in Rowcast's name. `hint` says what to do.
create function rowcast.refuse(
  message text, hint text, code text default 'invalid_parameter_value'
) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using message = 'rowcast: ' || message, hint = hint, errcode = code;
end $$;

-- A template with its {{slots}} filled in, in one pass: a value may contain anything.
create function rowcast.fill(template text, slots jsonb) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select string_agg(part[1] || coalesce(slots ->> part[2], ''), '' order by place)
  from regexp_matches(template || '{{}}', '(.*?)\{\{(\w*)\}\}', 'g') with ordinality m (part, place)
$$;

-- The table that has this name (as name_of() writes it), if any. to_regclass() will not do: it
-- takes a right on the schema.
create function rowcast.named(name text) returns regclass language sql stable
set search_path = pg_catalog, pg_temp as $$
  select c.oid
  from parse_ident(name) part
  join pg_namespace n on n.nspname = part[1]
  join pg_class c on c.relnamespace = n.oid and c.relname = part[2]
  where c.relkind in ('r', 'p')
$$;

-- The table is watched.
create function rowcast.is_watched(target regclass) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select exists (select from rowcast.capture c where c.target = is_watched.target)
$$;

-- Forgets tables that were dropped, and their capture functions, but keeps those whose name another
-- table has that is not watched.
create function rowcast.forget_dropped() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  gone text;
begin
  for gone in
    delete from rowcast.capture c
    where not exists (select from pg_class r where r.oid = c.target)
      and (rowcast.named(c.name) is null or rowcast.is_watched(rowcast.named(c.name)))
    returning c.function
  loop
    perform rowcast.drop_function(gone);
  end loop;
end $$;

-- Drops a capture function, and what goes with it.
create function rowcast.drop_function(name text) returns void language plpgsql
set search_path = pg_catalog, pg_temp set client_min_messages = 'warning' as $$
begin
  execute format('drop function if exists rowcast.%I()', name);
  execute format('drop function if exists rowcast.%I(text, text[], json, json, json, text)',
    rowcast.append_name(name));
  execute format('drop type if exists rowcast.%I', rowcast.row_type(name));
end $$;

-- The function that appends what a capture function made.
create function rowcast.append_name(function text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$ select replace(function, 'capture', 'append') $$;
-- The type of the rows that a capture function makes JSON of.
create function rowcast.row_type(function text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$ select replace(function, 'capture', 'row') $$;

-- A name of at most 63 bytes (NAMEDATALEN - 1): the start of a longer one, and a hash.
create function rowcast.shorten_name(name text) returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  start text := name;
begin
  if octet_length(name) <= 63 then return name; end if;
  while octet_length(start) > 46 loop start := left(start, -1); end loop;
  return start || '_' || left(md5(name), 16);
end $$;

-- A longer term can be no connection's: user ids and room names are shorter
-- (src/lambdas/identity.ts).
create function rowcast.max_term_bytes() returns integer language sql immutable as 'select 200';

-- JSON is not even made of more stored bytes. Most often compressed, these are more than
-- MAX_FRAME_BYTES's default in JSON, for any built-in type.
create function rowcast.max_stored_bytes() returns integer language sql immutable
as 'select 262144';

-- No smaller row can be too large for a frame (MAX_FRAME_BYTES is at least 2,000): its key is not
-- stored. Nor is a key that is larger itself.
create function rowcast.max_small_bytes() returns integer language sql immutable as 'select 1000';

-- The most bytes that an audience takes as it is stored. A term with a column is as long as terms
-- may be, and there twice: an update is addressed by the old row and the new.
create function rowcast.audience_bytes(audience text[]) returns bigint language sql immutable
set search_path = pg_catalog, pg_temp as $$
  -- The head of an array, and of each of its texts with what aligns it.
  select 24 + coalesce(sum(8 + case when term ~ '<' then 2 * (rowcast.max_term_bytes() + 8)
    else octet_length(term) end), 0)
  from unnest(audience) term
$$;

-- Refuses anything that is no list of audience terms. With `templates`, a term may name columns:
-- user:<recipient_id>. Whom a term with `!` names is left out, whatever else reaches him.
create function rowcast.check_audience(audience text[], templates boolean) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text;
  terms constant text :=
    'all, user:ID, room:NAME, role:NAME or connection:ID; !user:ID and so on leave out.';
begin
  if coalesce(cardinality(audience), 0) = 0 then
    perform rowcast.refuse('audience is empty', 'Name at least one term: ' || terms);
  elsif array_ndims(audience) <> 1 then
    perform rowcast.refuse('audience is a list of lists', 'Write {user:1,role:admin}.');
  elsif cardinality(audience) > 1000 then
    perform rowcast.refuse(
      format('audience has %s terms', cardinality(audience)),
      'At most 1000; let the many join a room and address that.');
  elsif rowcast.audience_bytes(audience) > rowcast.max_audience_bytes() then
    perform rowcast.refuse(
      format('audience has %s bytes, or may have with the values of columns',
        rowcast.audience_bytes(audience)),
      format('At most %s; let the many join a room and address that.',
        rowcast.max_audience_bytes()));
  end if;
  foreach term in array audience loop
    if term is null or term !~ '^(all|!?(user|room|role|connection):.+)$' then
      perform rowcast.refuse(
        format('%s is not an audience term', quote_nullable(left(term, 100))),
        'A term is ' || terms);
    elsif octet_length(term) > rowcast.max_term_bytes() then
      perform rowcast.refuse(
        format('audience term %s... is longer than %s bytes',
          left(term, 40), rowcast.max_term_bytes()),
        'Use a shorter user id or room name.');
    elsif templates and regexp_replace(term, '<[^<>]+>', '', 'g') ~ '[<>]' then
      perform rowcast.refuse(
        format('audience term %s has an unpaired < or >', quote_literal(term)),
        'A column stands in angle brackets: user:<recipient_id>.');
    end if;
  end loop;
  if not exists (select from unnest(audience) t where t not like '!%') then
    perform rowcast.refuse(
      format('audience %s leaves out, and reaches nobody', left(audience::text, 100)),
      'Name who is reached as well: {all,!user:7}.');
  end if;
end $$;

-- The columns that audience terms name.
create function rowcast.audience_columns(audience text[]) returns text[] language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct m[1]), '{}')
  from unnest(audience) t, regexp_matches(t, '<([^<>]+)>', 'g') m
$$;

-- SQL for the audience of one row; `record` is new or old. A term with a null column is left out,
-- and so is one that is too long to be anybody's.
create function rowcast.audience_sql(w rowcast.capture, record text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  term text;
  filled text;
  named text;
  terms text[] := '{}';
begin
  if rowcast.audience_columns(w.audience) = '{}' then
    return quote_literal(w.audience) || '::text[]';
  end if;
  foreach term in array w.audience loop
    if rowcast.audience_columns(array[term]) = '{}' then
      terms := terms || quote_literal(term);
      continue;
    end if;
    select string_agg(case
      when part[1] is null then quote_literal(part[2])
      else rowcast.text_sql(record, part[1], w.shape) end, ' || ' order by place)
    into filled
    from regexp_matches(term, '<([^<>]+)>|([^<>]+)', 'g') with ordinality m (part, place);
    select string_agg(format('%s.%I', record, c), ', ') into named
    from unnest(rowcast.audience_columns(array[term])) c;
    terms := terms || format(
      'case when num_nulls(%2$s) = 0 and octet_length(%1$s) <= %3$s then %1$s end',
      filled, named, rowcast.max_term_bytes());
  end loop;
  return 'array_remove(array[' || array_to_string(terms, ', ') || ']::text[], null)';
end $$;

-- Rows become JSON as the owner of the table, and row_to_json() calls casts to json of the types
-- that users made. Whoever owns such a type may write its cast, today or later: what a third party
-- owns is printed by its output function, which calls nobody. The ways of a column, by its type:
--
-- plain  built-in, or a domain or an array of such: nothing of a user's is called
-- text   no cast to json, or a third party's: a string, as row_to_json() makes it of an enum
-- list   an array of those
-- owner  a cast or a composite of the owner's or a superuser's: row_to_json() may call it, where it
--        is still so (calls_own_casts())

-- The types that users made which `type` is made of, itself included. A domain is what it is over.
create function rowcast.types_in(type oid) returns setof oid language sql stable
set search_path = pg_catalog, pg_temp as $$
  with recursive reached (oid) as (
    select type
    union
    select part.oid
    from reached r join pg_type t on t.oid = r.oid cross join lateral (
      select t.typbasetype where t.typtype = 'd'
      union all select t.typelem where t.typelem >= 16384
      union all select a.atttypid from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) part (oid)
    -- FirstNormalObjectId in Postgres's transam.h: below are its own.
    where r.oid >= 16384
  )
  select r.oid from reached r where r.oid >= 16384
$$;

-- Nobody but `owner` and superusers decides what JSON of these types calls.
create function rowcast.are_own(types oid[], owner oid) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select not exists (
    select from pg_type t join pg_roles r on r.oid = t.typowner
    where t.oid = any (types) and t.typtype <> 'd' and r.oid <> owner and not r.rolsuper
    union all
    select from pg_cast c join pg_proc p on p.oid = c.castfunc
      join pg_roles r on r.oid = p.proowner
    where c.castsource = any (types) and c.casttarget = 'json'::regtype
      and r.oid <> owner and not r.rolsuper)
$$;

-- The way of a type, in a table of `owner`.
create function rowcast.way_of(type oid, owner oid) returns text language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  t pg_type;
  types oid[];
begin
  select * into t from pg_type where oid = type;
  if t.typtype = 'd' then return rowcast.way_of(t.typbasetype, owner); end if;
  if t.oid < 16384 then return 'plain'; end if;
  if t.typsubscript = 'array_subscript_handler'::regproc then
    return replace(rowcast.way_of(t.typelem, owner), 'text', 'list');
  end if;
  types := array(select rowcast.types_in(t.oid));
  if rowcast.are_own(types, owner) and (t.typtype = 'c' or exists (
    select from pg_cast c where c.castsource = t.oid and c.casttarget = 'json'::regtype)) then
    return 'owner';
  end if;
  return 'text';
end $$;

-- The name of the built-in type under the domains of `type`, or of its elements.
create function rowcast.base_of(type oid) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case
    when t.typtype = 'd' then rowcast.base_of(t.typbasetype)
    when t.oid >= 16384 and t.typelem <> 0 then rowcast.base_of(t.typelem) || '[]'
    else format('%I.%I', n.nspname, t.typname) end
  from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = type
$$;

-- The columns of a table as they are now: number, name, type, the type's name under its domains,
-- and way.
create function rowcast.shape_of(target regclass) returns jsonb language sql stable
set search_path = pg_catalog, pg_temp as $$
  select jsonb_agg(jsonb_build_object('number', a.attnum, 'name', a.attname,
      'type', format('%I.%I', n.nspname, t.typname),
      'base', rowcast.base_of(t.oid), 'way', rowcast.way_of(t.oid, c.relowner),
      -- Its text by a cast is another than by its output function: true and t.
      'cast', exists (select from pg_cast k
        where k.castsource = t.oid and k.casttarget = 'text'::regtype and k.castfunc <> 0
          and t.oid < 16384))
    order by a.attnum)
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  join pg_namespace n on n.oid = t.typnamespace
  where c.oid = target
$$;

-- The first argument, which must be of the very type of the second. Another type is an error: no
-- cast is called that would make it fit.
create function rowcast.exactly(value anyelement, type anyelement) returns anyelement
language sql immutable as 'select value';

-- SQL for one column, and the built-in type that it is of then. It calls nothing of a user's,
-- whatever its type became since.
create function rowcast.column_sql(value text, way text, base text, out sql text, out type text)
language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select
    case way
      when 'text' then format('case when num_nulls(%1$s) = 0 then format(''%%s'', %1$s) end', value)
      when 'list' then
        format('case when num_nulls(%1$s) = 0 then format(''%%s'', %1$s)::text[] end', value)
      else value end,
    case way when 'text' then 'pg_catalog.text' when 'list' then 'pg_catalog.text[]' else base end
$$;

-- SQL for one column as text. Output functions call no cast.
create function rowcast.text_sql(record text, named text, shape jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case when coalesce((c ->> 'cast')::boolean, false)
    then format('case when pg_typeof(%1$s.%2$I) = %3$L::regtype '
      'then format(''%%s'', %1$s.%2$I)::%3$s::text else format(''%%s'', %1$s.%2$I) end',
      record, named, c ->> 'type')
    else format('format(''%%s'', %s.%I)', record, named) end
  from (values (1)) one (row)
  left join jsonb_array_elements(shape) c on c ->> 'name' = named
$$;

-- The columns of `w` that leave the database, with their SQL, as long as the table has the shape in
-- which it was watched. Null where only its owner's casts can say.
create function rowcast.exact_columns(w rowcast.capture, record text)
returns table (place bigint, name text, sql text, type text) language sql stable
set search_path = pg_catalog, pg_temp as $$
  select u.place, u.name, s.sql, s.type
  from unnest(coalesce(w.columns, array(
    select c ->> 'name' from jsonb_array_elements(w.shape) c))) with ordinality u (name, place)
  left join jsonb_array_elements(w.shape) c on c ->> 'name' = u.name and c ->> 'way' <> 'owner'
  left join lateral rowcast.column_sql(
    format('rowcast.exactly(%s.%I, null::%s)', record, u.name, c ->> 'type'),
    c ->> 'way', c ->> 'base') s on c is not null
$$;

-- JSON of a row has no part that only its owner's casts can say.
create function rowcast.is_exact(w rowcast.capture) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select bool_and(c.sql is not null) from rowcast.exact_columns(w, 'new') c
$$;

-- JSON of some columns of a row, in whatever shape its table is now; null stands for all. Raises an
-- error where a column is gone.
create function rowcast.json_of(relation regclass, columns text[], record record) returns json
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  me oid := (select oid from pg_roles where rolname = current_user);
  gone text := (select c from unnest(columns) c where not exists (
    select from pg_attribute a
    where a.attrelid = relation and a.attname = c and not a.attisdropped) limit 1);
  types oid[] := array(select distinct rowcast.types_in(a.atttypid) from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384);
  query text;
  image json;
begin
  if gone is not null then
    raise exception 'column % is gone', gone using errcode = 'undefined_column';
  elsif columns is null and (types = '{}' or rowcast.are_own(types, me)) then
    return row_to_json(record);
  end if;
  select format('select row_to_json(r.*) from (select %s) r',
    string_agg(format('%s as %I', s.sql, a.attname), ', ' order by a.place, a.attnum))
  into query
  from (
    select a.attname, a.attnum, array_position(columns, a.attname::text) as place,
      rowcast.way_of(a.atttypid, me) as way, rowcast.base_of(a.atttypid) as base
    from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
      and (columns is null or a.attname = any (columns))) a
  cross join lateral rowcast.column_sql(format('($1).%I', a.attname), a.way, a.base) s;
  execute query into image using record;
  return image;
end $$;

-- SQL for JSON of some columns of one row; null where there are none. Fast, but an error where the
-- table has another shape than `w` was made for.
create function rowcast.exact_sql(w rowcast.capture, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format('row_to_json(row(%s)::rowcast.%I)',
    string_agg(c.sql, ', ' order by c.place), rowcast.row_type(w.function))
  from rowcast.exact_columns(w, record) c
$$;

-- The numbers by which a capture function notices that columns were added.
create function rowcast.next_numbers(w rowcast.capture) returns setof integer language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select max((c ->> 'number')::integer) + n
  from jsonb_array_elements(w.shape) c, generate_series(1, 4) n group by n
$$;

-- SQL that says whether a row has all the columns of the table, and no more: `w` may name them. A
-- column that was added has one of the next numbers; those of a partition are its own.
create function rowcast.has_shape_sql(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case
    when not rowcast.is_exact(w) then 'false'
    when w.columns is not null then 'true'
    when c.relkind = 'p' then format('(select count(*) from pg_attribute a where a.attrelid = '
      'tg_relid and a.attnum > 0 and not a.attisdropped) = %s', jsonb_array_length(w.shape))
    else (
      select format('num_nulls(%s) = %s', string_agg(
        format('has_column_privilege(tg_relid, %s::int2, ''select'')', n), ', '), count(*))
      from rowcast.next_numbers(w) n)
  end
  from pg_class c where c.oid = w.target
$$;

-- SQL for the stored bytes of the columns that leave the database.
create function rowcast.stored_bytes_sql(w rowcast.capture, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case
    when w.columns is null then format('pg_column_size(%s)', record)
    else coalesce((
      select string_agg(
        format('coalesce(pg_column_size(%s.%I), 0)', record, a.attname), ' + ' order by a.attnum)
      from pg_attribute a
      where a.attrelid = w.target and a.attnum > 0
        and a.attname = any (w.columns) and a.attlen = -1), '0')
  end
$$;

-- The statement that sets a variable to JSON of one row as it leaves the database: to null for a
-- row that is surely too large for a frame.
create function rowcast.image_sql(w rowcast.capture, variable text, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format(case when rowcast.is_exact(w)
      then 'if exact then %1$s := case when %2$s <= %3$s then %4$s end; else '
        '%1$s := case when %2$s <= %3$s then %5$s end; end if;'
      else '%1$s := case when %2$s <= %3$s then %5$s end;' end,
    variable,
    rowcast.stored_bytes_sql(w, record),
    rowcast.max_stored_bytes(),
    rowcast.exact_sql(w, record),
    format('rowcast.json_of(tg_relid, %s::text[], %s)', quote_nullable(w.columns), record))
$$;

-- The primary key's columns in their order, if they may leave the database. Columns that it
-- INCLUDEs are not among them.
create function rowcast.key_columns(relation regclass, columns text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(a.attname::text order by k.place), '{}')
  from pg_index i
  cross join unnest(i.indkey::int2[]) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    and k.place <= i.indnkeyatts
  where i.indrelid = relation and i.indisprimary
    and (columns is null or a.attname = any (columns))
$$;

-- SQL for JSON of the key of one row: as the catalogs say, or in the shape that was watched, which
-- is faster and may be an error; null where that is not to be had.
create function rowcast.key_sql(w rowcast.capture, record text, exact boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case
    when k.columns = '{}' then '''null''::json'
    when not exact or not rowcast.is_exact(w)
      then format('rowcast.json_of(tg_relid, %L::text[], %s)', k.columns, record)
    else (
      select format('(select row_to_json(r.*) from (select %s) r)',
        string_agg(format('%s as %I', c.sql, c.name), ', ' order by u.place))
      from unnest(k.columns) with ordinality u (name, place)
      join rowcast.exact_columns(w, record) c on c.name = u.name)
  end
  from (select rowcast.key_columns(w.target, w.columns) as columns) k
$$;

-- JSON of the key that an update has changed, as the catalogs say; null where it has not.
create function rowcast.former_key(
  relation regclass, columns text[], former record, latter record
) returns json language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  key text[] := rowcast.key_columns(relation, columns);
  before json := case when key <> '{}' then rowcast.json_of(relation, key, former) end;
begin
  return case when before::text <> rowcast.json_of(relation, key, latter)::text then before end;
end $$;

-- The statement that sets `previous` to the key that an update has changed: whoever has the former
-- row would keep it. It compares as stored, like changed_sql().
create function rowcast.former_key_sql(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select 'if tg_op = ''UPDATE'' then ' || case when rowcast.is_exact(w) then (
      select format('if exact then if row(%s)::record *<> row(%s)::record then previous := %s; '
          'end if; else %s end if;',
        string_agg(format('old.%I', c), ', ' order by c),
        string_agg(format('new.%I', c), ', ' order by c),
        rowcast.key_sql(w, 'old', true), now.sql)
      from unnest(k.columns) c)
    else now.sql end || ' end if;'
  from (select rowcast.key_columns(w.target, w.columns) as columns) k
  cross join lateral (select format('previous := rowcast.former_key(tg_relid, %s, old, new);',
    quote_nullable(w.columns)) as sql) now
  where k.columns <> '{}'
$$;

-- SQL that says whether an update changed anything that leaves the database, or who hears of it. It
-- compares as stored, since not every type has an equality. A virtual column counts where it is
-- named; else the columns that it is made of are compared.
create function rowcast.changed_sql(w rowcast.capture) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select case
    when w.columns is null then 'old *<> new'
    else (
      select format('row(%s)::record *<> row(%s)::record',
        string_agg(format('old.%I', c), ', ' order by c),
        string_agg(format('new.%I', c), ', ' order by c))
      from (select distinct unnest(w.columns || rowcast.audience_columns(w.audience)) c) named)
  end
$$;

-- SQL that fills in the virtual generated columns (Postgres 18) of one row: a trigger finds null in
-- them. Their expressions call built-in functions only, of columns that are of the types that they
-- were written for.
create function rowcast.virtual_sql(w rowcast.capture, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select string_agg(
    format('%1$s.%2$I := (select %3$s from (select %4$s) r);',
      record, a.attname, pg_get_expr(d.adbin, d.adrelid), (
        select string_agg(format('rowcast.exactly(%s.%I, null::%s) as %2$I',
          record, c.name, c.type), ', ')
        from pg_depend p
        join pg_attribute b on b.attrelid = a.attrelid and b.attnum = p.refobjsubid
        join jsonb_to_recordset(w.shape) c (name text, type text) on c.name = b.attname
        where p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
          and p.refobjid = a.attrelid and b.attnum <> a.attnum)),
    ' ' order by a.attnum)
  from pg_attribute a
  join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
    and (w.columns is null
      or a.attname = any (w.columns || rowcast.audience_columns(w.audience)))
$$;

-- A virtual generated column is among those that the audience names.
create function rowcast.audience_is_virtual(w rowcast.capture) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select exists (select from pg_attribute a
    where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
      and a.attname = any (rowcast.audience_columns(w.audience)))
$$;

-- The part of the body that fills in `reach`, `image` and `previous`. The audience comes first, so
-- that an image that fails leaves it as it is; after the virtual columns only where it names one. A
-- trigger with a WHEN would compute virtual columns where nothing catches an error.
create function rowcast.compute_sql(w rowcast.capture, dynamic boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select concat_ws(E'\n      ', '',
    case when rowcast.has_shape_sql(w) not in ('true', 'false') then
      format('if exact then exact := %s; end if;', rowcast.has_shape_sql(w)) end,
    -- Until the audience is known, nobody hears of it.
    case when dynamic then 'reach := ''{}'';' end,
    case when w.columns is null then v.unless_changed end,
    case when v.first then v.fill end,
    case when dynamic then format('if tg_op = ''DELETE'' then reach := %s;', v.old_audience) end,
    case when dynamic then format('else reach := %s; end if;', v.new_audience) end,
    -- An audience that loses sight of a row hears of it too.
    case when dynamic then 'if tg_op = ''UPDATE'' then' end,
    case when dynamic then format('  reach := %s;', v.either_audience) end,
    case when dynamic then 'end if;' end,
    case when not v.first then v.fill end,
    case when w.columns is not null then v.unless_changed end,
    'if tg_op = ''DELETE'' then',
    '  ' || rowcast.image_sql(w, 'image', 'old'),
    case when w.include_old then '  previous := image;' end,
    'else',
    '  ' || rowcast.image_sql(w, 'image', 'new'),
    case when w.include_old then
      format('  if tg_op = ''UPDATE'' then %s end if;', rowcast.image_sql(w, 'previous', 'old'))
      else '  ' || rowcast.former_key_sql(w) end,
    'end if;')
  from (select
    rowcast.audience_is_virtual(w) as first,
    rowcast.audience_sql(w, 'old') as old_audience,
    rowcast.audience_sql(w, 'new') as new_audience,
    -- Left out is whom both leave out.
    format(case when array_to_string(w.audience, ' ') ~ '(^| )!'
      then 'array(select distinct t from unnest(reach || %1$s) t '
        'where t not like ''!%%'' or t = any (reach) and t = any (%1$s))'
      else 'array(select distinct unnest(reach || %s))' end, rowcast.audience_sql(w, 'old'))
      as either_audience,
    format('if tg_op = ''UPDATE'' and not (%s) then return null; end if;', rowcast.changed_sql(w))
      as unless_changed,
    nullif(concat_ws(E'\n      ',
      'if tg_op <> ''DELETE'' then ' || rowcast.virtual_sql(w, 'new') || ' end if;',
      'if tg_op <> ''INSERT'' then ' || rowcast.virtual_sql(w, 'old') || ' end if;'), '') as fill) v
$$;

-- The template of a capture function's body. schema.sql has some as they come out (capture_1), and
-- test/migrations/capture-function.sql the fullest.
--
-- Nothing in it fails the writer's statement, whatever a later ALTER does to the table:
-- * Where a column that it names was renamed, nothing of the row leaves the database.
-- * Where JSON of the row cannot be made (a cast or a virtual column fails, or it is over 1 GB),
--   the event has the key only, and its audience where that can be computed.
-- `problem` keeps the reason, and a warning tells the writer. That takes a subtransaction a row: 3
-- of 45 us. Where the type of a column was changed, plans that sessions keep are of the former type
-- (or of one that is gone): a session lets go of them once (DISCARD PLANS makes its prepared
-- statements plan again, and no more), and makes the event anew. Where the table has not the shape
-- any more for which the body was written (`exact`), the catalogs say at each row how to make JSON
-- of it, some 0.3 ms, until rewatch().
-- Images that fit no message are not stored. An unknown size counts as large.
create function rowcast.capture_template() returns text language sql immutable
set search_path = pg_catalog, pg_temp as $template$
  select $body$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := {{audience}};
  bytes integer := 0; problem text; exact boolean := {{exact}}; discarded boolean := false;
  appended text;
begin
  for attempt in 1..3 loop
    exit when tg_op = 'TRUNCATE';
    begin{{compute}}
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
        select from unnest({{columns}}::text[]) named (name)
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
    bytes := coalesce(pg_column_size(image){{previous_bytes}}, 1000000000);
    exit;
  end loop;
  if bytes > {{small_bytes}} then
    for attempt in 1..2 loop
      begin
        if attempt = 1 and exact then
          if tg_op = 'DELETE' then identity := {{old_key}}; else identity := {{new_key}}; end if;
        elsif tg_op = 'DELETE' then identity := {{old_key_now}};
        else identity := {{new_key_now}};
        end if;
        if pg_column_size(identity) > {{small_bytes}} then identity := 'null'; end if;
        exit;
      exception when others or assert_failure then
        identity := 'null';
      end;
    end loop;
    if bytes > {{message_bytes}} then image := null; previous := null; end if;
  end if;
  -- A simple expression: a third of what PERFORM costs.
  appended := rowcast.{{append}}(tg_op, reach, image, previous, identity, left(problem, 500));
  return null;
end $body$
$template$;

-- The template of the body of a table's append function. Its caller is the table's capture
-- function, or the table's owner with whatever arguments: it makes events of this table only, of
-- sizes that a relay can read, and for nobody but its audience where that names no column.
create function rowcast.append_template() returns text language sql immutable
set search_path = pg_catalog, pg_temp as $template$
  select $body$
begin
  if pg_column_size($2) > {{audience_bytes}} then
    insert into rowcast.event (type, audience, source, problem)
    values ('UPDATE' || {{suffix}}, '{}', {{source}}, 'its audience is too large');
  else
    insert into rowcast.event (type, audience, data, old, source, key, problem)
    values (
      case $1
        when 'INSERT' then 'NEW' when 'UPDATE' then 'UPDATE' when 'DELETE' then 'DELETE'
        else 'TRUNCATE' end || {{suffix}},
      {{audience}},
      case when pg_column_size($3) <= {{message_bytes}} then $3 end,
      case when pg_column_size($4) <= {{message_bytes}} then $4 end,
      {{source}},
      case when pg_column_size($5) <= {{small_bytes}} then $5 end,
      left($6, 500));
  end if;
  if not pg_try_advisory_xact_lock_shared({{lock_class}}, {{doorbell}}) then
    perform rowcast.ring({{channel}});
  end if;
  return null;
end $body$
$template$;

create function rowcast.append_body(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select rowcast.fill(rowcast.append_template(), jsonb_build_object(
    'audience_bytes', rowcast.max_audience_bytes(),
    'audience', case when rowcast.audience_columns(w.audience) = '{}'
      then format('case when $2 = ''{}'' then $2 else %L::text[] end', w.audience) else '$2' end,
    'suffix', quote_literal('_' || w.entity),
    'source', quote_literal(n.nspname || '.' || c.relname),
    'message_bytes', rowcast.max_message_bytes(),
    'small_bytes', rowcast.max_small_bytes(),
    'lock_class', rowcast.lock_class(),
    'doorbell', rowcast.doorbell_lock(),
    'channel', quote_literal(w.channel)))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = w.target
$$;

-- The body of a table's capture function, written for the table: a row costs no look-up.
create function rowcast.capture_body(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select rowcast.fill(rowcast.capture_template(), jsonb_build_object(
    -- A TRUNCATE has no row to take an audience from: everybody who may have seen one hears of it.
    'audience', quote_literal(case when a.dynamic then '{all}' else w.audience::text end),
    'compute', rowcast.compute_sql(w, a.dynamic),
    'columns', quote_nullable((w.columns || a.columns)::text),
    'previous_bytes', case when w.include_old then
      ' + case tg_op when ''INSERT'' then 0 else pg_column_size(previous) end' end,
    'small_bytes', rowcast.max_small_bytes(),
    'message_bytes', rowcast.max_message_bytes(),
    'exact', rowcast.is_exact(w),
    'old_key', rowcast.key_sql(w, 'old', true),
    'new_key', rowcast.key_sql(w, 'new', true),
    'old_key_now', rowcast.key_sql(w, 'old', false),
    'new_key_now', rowcast.key_sql(w, 'new', false),
    'append', quote_ident(rowcast.append_name(w.function))))
  from (select rowcast.audience_columns(w.audience) as columns,
    rowcast.audience_columns(w.audience) <> '{}' as dynamic) a
$$;

-- Down Migration
-- Locks: none; 0003_watch.sql took the triggers away.
drop function rowcast.append_body(rowcast.capture);
drop function rowcast.append_template();
drop function rowcast.capture_body(rowcast.capture);
drop function rowcast.capture_template();
drop function rowcast.compute_sql(rowcast.capture, boolean);
drop function rowcast.audience_is_virtual(rowcast.capture);
drop function rowcast.virtual_sql(rowcast.capture, text);
drop function rowcast.changed_sql(rowcast.capture);
drop function rowcast.former_key_sql(rowcast.capture);
drop function rowcast.former_key(regclass, text[], record, record);
drop function rowcast.key_sql(rowcast.capture, text, boolean);
drop function rowcast.key_columns(regclass, text[]);
drop function rowcast.image_sql(rowcast.capture, text, text);
drop function rowcast.stored_bytes_sql(rowcast.capture, text);
drop function rowcast.has_shape_sql(rowcast.capture);
drop function rowcast.next_numbers(rowcast.capture);
drop function rowcast.exact_sql(rowcast.capture, text);
drop function rowcast.json_of(regclass, text[], record);
drop function rowcast.is_exact(rowcast.capture);
drop function rowcast.exact_columns(rowcast.capture, text);
drop function rowcast.text_sql(text, text, jsonb);
drop function rowcast.column_sql(text, text, text);
drop function rowcast.exactly(anyelement, anyelement);
drop function rowcast.shape_of(regclass);
drop function rowcast.base_of(oid);
drop function rowcast.way_of(oid, oid);
drop function rowcast.are_own(oid[], oid);
drop function rowcast.types_in(oid);
drop function rowcast.audience_sql(rowcast.capture, text);
drop function rowcast.audience_columns(text[]);
drop function rowcast.check_audience(text[], boolean);
drop function rowcast.audience_bytes(text[]);
drop function rowcast.max_small_bytes();
drop function rowcast.max_stored_bytes();
drop function rowcast.max_term_bytes();
drop function rowcast.shorten_name(text);
drop function rowcast.forget_dropped();
drop function rowcast.drop_function(text);
drop function rowcast.row_type(text);
drop function rowcast.append_name(text);
drop function rowcast.is_watched(regclass);
drop function rowcast.named(text);
drop function rowcast.fill(text, jsonb);
drop function rowcast.refuse(text, text, text);
drop table rowcast.capture;
drop sequence rowcast.capture_number;
