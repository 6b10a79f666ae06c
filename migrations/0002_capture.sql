-- Up Migration
-- What is watched, and the functions that append to the log.
-- Locks: none here. rowcast.watch() takes SHARE ROW EXCLUSIVE on its table and the partitions
-- (ACCESS EXCLUSIVE where it replaces triggers), rowcast.unwatch() ACCESS EXCLUSIVE, until the
-- transaction ends. Both give up after 3 s, because writers queue behind a waiter for such a lock:
-- call them again then.
-- Rights: a writer needs none on the schema, because capture runs as the owner of the table. JSON
-- of a row calls casts that this owner may have written: Rowcast's own role must not run them.

-- Capture functions are numbered: names made of table names could be those of two tables.
create sequence rowcast.capture_number;

-- One row a table; rowcast.watched is the view to read. `name` is the table's name when it was
-- watched: an online schema change puts a new table in its place.
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
    execute format('drop function if exists rowcast.%I()', gone);
  end loop;
end $$;

-- First key of Rowcast's advisory locks ('rowc' in ASCII), which belong to one database; the second
-- keys follow.
create function rowcast.lock_class() returns integer language sql immutable
as 'select x''726f7763''::int';
-- Held while the relay sleeps: ring it.
create function rowcast.doorbell_lock() returns integer language sql immutable as 'select 1';
-- Held by the relay that leads.
create function rowcast.lease_lock() returns integer language sql immutable as 'select 2';
-- Held by a watch() or unwatch() that is under way.
create function rowcast.watch_lock() returns integer language sql immutable as 'select 3';

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
-- (src/lambdas/authenticate.ts).
create function rowcast.max_term_bytes() returns integer language sql immutable as 'select 300';

-- No frame is larger: API Gateway's limit of a message
-- (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
create function rowcast.max_message_bytes() returns integer language sql immutable
as 'select 131072';

-- JSON is not even made of more stored bytes. Most often compressed, these are more than
-- MAX_FRAME_BYTES's default in JSON, for any built-in type.
create function rowcast.max_stored_bytes() returns integer language sql immutable
as 'select 262144';

-- No smaller row can be too large for a frame (MAX_FRAME_BYTES is at least 2,000): its key is not
-- stored. Nor is a key that is larger itself.
create function rowcast.max_small_bytes() returns integer language sql immutable as 'select 1000';

-- Refuses anything that is no list of audience terms. With `templates`, a term may name columns:
-- user:<recipient_id>.
create function rowcast.check_audience(audience text[], templates boolean) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text;
  terms constant text := 'all, user:ID, room:NAME, role:NAME or connection:ID.';
begin
  if coalesce(cardinality(audience), 0) = 0 then
    perform rowcast.refuse('audience is empty', 'Name at least one term: ' || terms);
  elsif array_ndims(audience) <> 1 then
    perform rowcast.refuse('audience is a list of lists', 'Write {user:1,role:admin}.');
  elsif cardinality(audience) > 1000 then
    perform rowcast.refuse(
      format('audience has %s terms', cardinality(audience)),
      'At most 1000; let the many join a room and address that.');
  end if;
  foreach term in array audience loop
    if term is null or term !~ '^(all|(user|room|role|connection):.+)$' then
      perform rowcast.refuse(
        format('%s is not an audience term', quote_nullable(left(term, 100))),
        'A term is ' || terms);
    elsif octet_length(term) > rowcast.max_term_bytes() then
      perform rowcast.refuse(
        format('audience term %s… is longer than %s bytes',
          left(term, 40), rowcast.max_term_bytes()),
        'Use a shorter user id or room name.');
    elsif templates and regexp_replace(term, '<[^<>]+>', '', 'g') ~ '[<>]' then
      perform rowcast.refuse(
        format('audience term %s has an unpaired < or >', quote_literal(term)),
        'A column stands in angle brackets: user:<recipient_id>.');
    end if;
  end loop;
end $$;

-- The columns that audience terms name.
create function rowcast.audience_columns(audience text[]) returns text[] language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct m[1]), '{}')
  from unnest(audience) t, regexp_matches(t, '<([^<>]+)>', 'g') m
$$;

-- SQL for the audience of one row; `record` is new or old. A term with a null column is left out,
-- and so is one that is too long to be anybody's.
create function rowcast.audience_sql(audience text[], record text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  term text;
  part text[];
  parts text[];
  terms text[] := '{}';
begin
  if rowcast.audience_columns(audience) = '{}' then
    return quote_literal(audience) || '::text[]';
  end if;
  foreach term in array audience loop
    if rowcast.audience_columns(array[term]) = '{}' then
      terms := terms || quote_literal(term);
      continue;
    end if;
    parts := '{}';
    for part in select regexp_matches(term, '<([^<>]+)>|([^<>]+)', 'g') loop
      parts := parts || case
        when part[1] is null then quote_literal(part[2])
        else format('%s.%I::text', record, part[1]) end;
    end loop;
    term := array_to_string(parts, ' || ');
    terms := terms || format('case when octet_length(%1$s) <= %2$s then %1$s end',
      term, rowcast.max_term_bytes());
  end loop;
  return 'array_remove(array[' || array_to_string(terms, ', ') || ']::text[], null)';
end $$;

-- SQL for some columns of one row as JSON; null stands for all columns, an empty list for JSON's
-- null.
create function rowcast.json_sql(columns text[], record text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select case
    when columns is null then format('row_to_json(%s)', record)
    when columns = '{}' then '''null''::json'
    else (
      select format('(select row_to_json(r.*) from (select %s) r)',
        string_agg(format('%s.%I', record, c), ', ' order by place))
      from unnest(columns) with ordinality u (c, place))
  end
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

-- SQL for the JSON of one row as it leaves the database. Null for a row that is surely too large
-- for a frame.
create function rowcast.image_sql(w rowcast.capture, record text) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format('case when %s <= %s then %s end',
    rowcast.stored_bytes_sql(w, record),
    rowcast.max_stored_bytes(),
    rowcast.json_sql(w.columns, record))
$$;

-- The primary key's columns in their order, if they may leave the database. Columns that it
-- INCLUDEs are not among them.
create function rowcast.key_columns(w rowcast.capture) returns text[] language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(a.attname::text order by k.place), '{}')
  from pg_index i
  cross join unnest(i.indkey::int2[]) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    and k.place <= i.indnkeyatts
  where i.indrelid = w.target and i.indisprimary
    and (w.columns is null or a.attname = any (w.columns))
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
-- them.
create function rowcast.virtual_sql(w rowcast.capture, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select string_agg(
    format('%1$s.%2$I := (select %3$s from (select (%1$s).*) r);',
      record, a.attname, pg_get_expr(d.adbin, d.adrelid)),
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
    -- Until the audience is known, nobody hears of it.
    case when dynamic then 'reach := ''{}'';' end,
    case when w.columns is null then v.unless_changed end,
    case when v.first then v.fill end,
    case when dynamic then format('if tg_op = ''DELETE'' then reach := %s;', v.old_audience) end,
    case when dynamic then format('else reach := %s; end if;', v.new_audience) end,
    -- An audience that loses sight of a row hears of it too.
    case when dynamic then 'if tg_op = ''UPDATE'' then' end,
    case when dynamic then
      format('  reach := array(select distinct unnest(reach || %s));', v.old_audience) end,
    case when dynamic then 'end if;' end,
    case when not v.first then v.fill end,
    case when w.columns is not null then v.unless_changed end,
    'if tg_op = ''DELETE'' then',
    format('  image := %s;', rowcast.image_sql(w, 'old')),
    case when w.include_old then '  previous := image;' end,
    'else',
    format('  image := %s;', rowcast.image_sql(w, 'new')),
    case when w.include_old then
      format('  if tg_op = ''UPDATE'' then previous := %s; end if;',
        rowcast.image_sql(w, 'old')) end,
    'end if;')
  from (select
    rowcast.audience_is_virtual(w) as first,
    rowcast.audience_sql(w.audience, 'old') as old_audience,
    rowcast.audience_sql(w.audience, 'new') as new_audience,
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
-- of 45 µs. Where the type of a column was changed, plans that sessions keep are of the former type
-- (or of one that is gone): a session lets go of them once (DISCARD PLANS makes its prepared
-- statements plan again, and no more), and makes the event anew.
-- Images that fit no message are not stored. An unknown size counts as large.
create function rowcast.capture_template() returns text language sql immutable
set search_path = pg_catalog, pg_temp as $template$
  select $body$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := {{audience}};
  bytes integer := 0; problem text;
begin
  for attempt in 1..2 loop
    exit when tg_op = 'TRUNCATE';
    begin{{compute}}
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
  for attempt in 1..2 loop
    exit when bytes <= {{small_bytes}};
    begin
      if tg_op = 'DELETE' then identity := {{old_key}}; else identity := {{new_key}}; end if;
      if pg_column_size(identity) > {{small_bytes}} then identity := 'null'; end if;
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
    if bytes > {{message_bytes}} then image := null; previous := null; end if;
    exit;
  end loop;
  insert into rowcast.event (type, audience, data, old, source, key, problem)
  values (
    case tg_op when 'INSERT' then 'NEW' else tg_op end || {{suffix}}, reach, image, previous,
    {{source}}, identity, left(problem, 500));
  if not pg_try_advisory_xact_lock_shared({{lock_class}}, {{doorbell}}) then
    perform pg_notify({{channel}}, '');
  end if;
  return null;
end $body$
$template$;

-- The body of a table's capture function, written for the table: a row costs one INSERT with a kept
-- plan, and no look-up.
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
    'old_key', rowcast.json_sql(rowcast.key_columns(w), 'old'),
    'new_key', rowcast.json_sql(rowcast.key_columns(w), 'new'),
    'suffix', quote_literal('_' || w.entity),
    'source', quote_literal(n.nspname || '.' || c.relname),
    'lock_class', rowcast.lock_class(),
    'doorbell', rowcast.doorbell_lock(),
    'channel', quote_literal(w.channel)))
  from (select rowcast.audience_columns(w.audience) as columns,
    rowcast.audience_columns(w.audience) <> '{}' as dynamic) a
  cross join pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = w.target
$$;

-- Down Migration
-- Locks: none; 0003_watch.sql took the triggers away.
drop function rowcast.capture_body(rowcast.capture);
drop function rowcast.capture_template();
drop function rowcast.compute_sql(rowcast.capture, boolean);
drop function rowcast.audience_is_virtual(rowcast.capture);
drop function rowcast.virtual_sql(rowcast.capture, text);
drop function rowcast.changed_sql(rowcast.capture);
drop function rowcast.key_columns(rowcast.capture);
drop function rowcast.image_sql(rowcast.capture, text);
drop function rowcast.stored_bytes_sql(rowcast.capture, text);
drop function rowcast.json_sql(text[], text);
drop function rowcast.audience_sql(text[], text);
drop function rowcast.audience_columns(text[]);
drop function rowcast.check_audience(text[], boolean);
drop function rowcast.max_small_bytes();
drop function rowcast.max_stored_bytes();
drop function rowcast.max_message_bytes();
drop function rowcast.max_term_bytes();
drop function rowcast.shorten_name(text);
drop function rowcast.watch_lock();
drop function rowcast.lease_lock();
drop function rowcast.doorbell_lock();
drop function rowcast.lock_class();
drop function rowcast.forget_dropped();
drop function rowcast.is_watched(regclass);
drop function rowcast.named(text);
drop function rowcast.fill(text, jsonb);
drop function rowcast.refuse(text, text, text);
drop table rowcast.capture;
drop sequence rowcast.capture_number;
