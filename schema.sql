-- The database after all migrations. Made by `npm run schema`; compared in the tests.

create table complaints (
  id bigint generated always as identity not null,
  title text not null,
  details text,
  status text default 'open'::text not null,
  reporter text,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null
);

create table messages (
  id bigint generated always as identity not null,
  sender text,
  recipient text,
  content text not null,
  status text default 'sent'::text not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null
);

create table rowcast.cursor (
  consumer text not null,
  snapshot pg_snapshot not null,
  until pg_snapshot,
  after_id bigint,
  through_id bigint,
  served_until timestamp with time zone default now() not null,
  served_snapshot pg_snapshot default pg_current_snapshot() not null,
  served_connections text[] default '{}'::text[] not null,
  updated_at timestamp with time zone default now() not null
) with (fillfactor=50);

create table rowcast.event (
  id bigint generated always as identity not null,
  xid xid8 default pg_current_xact_id() not null,
  occurred_at timestamp with time zone default clock_timestamp() not null,
  type text not null,
  audience text[] not null,
  data json,
  old json,
  source text,
  key json
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.02);

create table rowcast.installation (
  only_row boolean default true not null,
  id uuid default gen_random_uuid() not null,
  identity text default rowcast.database_identity() not null,
  floor xid8 default '0'::xid8 not null,
  installed_at timestamp with time zone default now() not null
);

create table rowcast.watched (
  target regclass not null,
  entity text not null,
  audience text[] not null,
  columns text[],
  operations text[] not null,
  include_old boolean not null,
  channel text not null,
  capture text not null,
  watched_at timestamp with time zone default now() not null
);

alter table complaints add constraint complaints_pkey PRIMARY KEY (id);

alter table messages add constraint messages_pkey PRIMARY KEY (id);

alter table rowcast.cursor add constraint cursor_check CHECK ((((until IS NULL) = (after_id IS NULL)) AND ((until IS NULL) = (through_id IS NULL))));

alter table rowcast.cursor add constraint cursor_pkey PRIMARY KEY (consumer);

alter table rowcast.event add constraint event_pkey PRIMARY KEY (id);

alter table rowcast.installation add constraint installation_only_row_check CHECK (only_row);

alter table rowcast.installation add constraint installation_pkey PRIMARY KEY (only_row);

alter table rowcast.watched add constraint watched_pkey PRIMARY KEY (target);

CREATE INDEX event_xid_idx ON rowcast.event USING btree (xid);

CREATE OR REPLACE FUNCTION rowcast.adopt(keep_cursor boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if keep_cursor then
    update rowcast.installation set identity = rowcast.database_identity();
  else
    delete from rowcast.event;
    update rowcast.installation set id = gen_random_uuid(), identity = rowcast.database_identity(), floor = '0';
    update rowcast.cursor set snapshot = pg_current_snapshot(), until = null, after_id = null, through_id = null,
      served_until = now(), served_snapshot = pg_current_snapshot(), served_connections = '{}', updated_at = now();
  end if;
  perform pg_notify('rowcast_control', '');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_columns(audience text[])
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select coalesce(array_agg(distinct m[1]), '{}') from unnest(audience) t, regexp_matches(t, '<([^<>]+)>', 'g') m
$function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_sql(audience text[], record text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.broadcast(type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send(type, data, '{all}') $function$
;

CREATE OR REPLACE FUNCTION rowcast.capture_1()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
 SET "IntervalStyle" TO 'iso_8601'
 SET bytea_output TO 'hex'
 SET extra_float_digits TO '1'
 SET lc_monetary TO 'C'
AS $function$
declare
  image json; previous json; identity json; reach text[];
begin
  if tg_op = 'TRUNCATE' then
    reach := '{all}';
  else
    if tg_op = 'DELETE' then
      image := row_to_json(old);
      reach := '{all}'::text[];
      
    else
      
      image := row_to_json(new);
      reach := '{all}'::text[];
      
    end if;
    if octet_length(image::text) + coalesce(octet_length(previous::text), 0) > 1000 then
      begin
        if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select old.id) r); else identity := (select row_to_json(r.*) from (select new.id) r); end if;
      exception when undefined_column then
        identity := null;
      end;
    end if;
  end if;
  insert into rowcast.event (type, audience, data, old, source, key)
    values (case tg_op when 'INSERT' then 'NEW' else tg_op end || '_MESSAGE', reach, image, previous, 'public.messages', identity);
  if not pg_try_advisory_xact_lock_shared(1919907683, 1) then perform pg_notify('rowcast_messages', ''); end if;
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.capture_2()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
 SET "IntervalStyle" TO 'iso_8601'
 SET bytea_output TO 'hex'
 SET extra_float_digits TO '1'
 SET lc_monetary TO 'C'
AS $function$
declare
  image json; previous json; identity json; reach text[];
begin
  if tg_op = 'TRUNCATE' then
    reach := '{all}';
  else
    if tg_op = 'DELETE' then
      image := row_to_json(old);
      reach := '{all}'::text[];
      
    else
      
      image := row_to_json(new);
      reach := '{all}'::text[];
      
    end if;
    if octet_length(image::text) + coalesce(octet_length(previous::text), 0) > 1000 then
      begin
        if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select old.id) r); else identity := (select row_to_json(r.*) from (select new.id) r); end if;
      exception when undefined_column then
        identity := null;
      end;
    end if;
  end if;
  insert into rowcast.event (type, audience, data, old, source, key)
    values (case tg_op when 'INSERT' then 'NEW' else tg_op end || '_COMPLAINT', reach, image, previous, 'public.complaints', identity);
  if not pg_try_advisory_xact_lock_shared(1919907683, 1) then perform pg_notify('rowcast_complaints', ''); end if;
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.capture_body(w rowcast.watched)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.changed_sql(w rowcast.watched)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select format('row(%s)::record *<> row(%s)::record', string_agg(format('old.%I', c), ', '), string_agg(format('new.%I', c), ', '))
  from (select distinct c from unnest(w.columns || rowcast.audience_columns(w.audience)) c) named
$function$
;

CREATE OR REPLACE FUNCTION rowcast.check_audience(audience text[], templates boolean)
 RETURNS void
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_watch(w rowcast.watched)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  relation pg_class; named text;
begin
  select * into relation from pg_class where oid = w.target;
  if w.target is null or relation is null then
    raise exception 'rowcast: no table was given to watch' using errcode = 'undefined_table',
      hint = 'Name it as in SQL: select rowcast.watch(''app.orders'').';
  elsif relation.relkind not in ('r', 'p') then
    raise exception 'rowcast: % is not a table', w.target using errcode = 'wrong_object_type',
      hint = 'Watch the ordinary or partitioned table that holds the rows; views and foreign tables have no triggers of their own.';
  elsif relation.relpersistence = 't' then
    raise exception 'rowcast: % is a temporary table', w.target using errcode = 'wrong_object_type', hint = 'Only its own session could see its rows.';
  elsif relation.relnamespace::regnamespace::text in ('pg_catalog', 'information_schema', 'rowcast') then
    raise exception 'rowcast: % belongs to schema %', w.target, relation.relnamespace::regnamespace using errcode = 'wrong_object_type',
      hint = 'Watch a table of your own.';
  end if;
  if w.entity !~ '^[A-Z0-9_]{1,63}$' then
    raise exception 'rowcast: entity % cannot be part of a type', quote_nullable(w.entity) using errcode = 'invalid_parameter_value',
      hint = 'Use letters, digits and underscores, at most 63: entity => ''ORDER'' gives NEW_ORDER.';
  end if;
  if coalesce(cardinality(w.operations), 0) = 0 or not w.operations <@ '{insert,update,delete,truncate}' then
    raise exception 'rowcast: operations are %', quote_nullable(w.operations::text) using errcode = 'invalid_parameter_value',
      hint = 'Use some of insert, update, delete, truncate; delete includes truncate.';
  end if;
  if w.columns = '{}' then
    raise exception 'rowcast: columns is empty' using errcode = 'invalid_parameter_value', hint = 'Name the columns that may leave the database, or pass null for all.';
  end if;
  perform rowcast.check_audience(w.audience, true);
  for named in select c from unnest(w.columns || rowcast.audience_columns(w.audience)) c loop
    if not exists (select from pg_attribute a where a.attrelid = w.target and a.attname = named and a.attnum > 0 and not a.attisdropped) then
      raise exception 'rowcast: % has no column %', w.target, quote_nullable(named) using errcode = 'undefined_column',
        hint = 'Columns are named as \d shows them, without quotes.';
    end if;
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.database_identity()
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select system_identifier || '/' || d.oid from pg_control_system(), pg_database d where d.datname = current_database()
$function$
;

CREATE OR REPLACE FUNCTION rowcast.fit_name(name text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  start text := name;
begin
  if octet_length(name) <= 63 then return name; end if;
  while octet_length(start) > 46 loop start := left(start, -1); end loop;
  return start || '_' || left(md5(name), 16);
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_dropped()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  gone text;
begin
  for gone in delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.target) returning capture loop
    execute format('drop function if exists rowcast.%I()', gone);
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.image_sql(columns text[], record text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when columns is null then format('row_to_json(%s)', record)
    when columns = '{}' then 'null::json'
    else format('(select row_to_json(r.*) from (select %s) r)', (select string_agg(format('%s.%I', record, c), ', ' order by o) from unnest(columns) with ordinality u(c, o)))
  end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.is_installed(w rowcast.watched, triggers text[])
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select exists (select from rowcast.watched x where (x.target, x.entity, x.audience, x.operations, x.include_old, x.capture)
      is not distinct from (w.target, w.entity, w.audience, w.operations, w.include_old, w.capture) and x.columns is not distinct from w.columns)
    and (select prosrc = rowcast.capture_body(w) from pg_proc where proname = w.capture and pronamespace = 'rowcast'::regnamespace)
    and triggers <@ array(select t.tgname::text from pg_trigger t where t.tgrelid = w.target and t.tgenabled = 'A')
$function$
;

CREATE OR REPLACE FUNCTION rowcast.key_columns(w rowcast.watched)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select coalesce(array_agg(a.attname::text order by array_position(i.indkey::int2[], a.attnum)), '{}')
  from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = w.target and i.indisprimary and (w.columns is null or a.attname = any (w.columns))
$function$
;

CREATE OR REPLACE FUNCTION rowcast.lock_class()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select x'726f7763'::int$function$
;

CREATE OR REPLACE FUNCTION rowcast.remove_old(keep interval, keep_undelivered interval, batch integer, OUT removed integer, OUT undelivered integer, OUT floor xid8)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  delivered pg_snapshot := (select snapshot from rowcast.cursor where consumer = 'relay');
begin
  with first as (select e.id, e.xid, e.occurred_at from rowcast.event e order by e.id limit batch),
  old as (
    select f.id, f.xid, not pg_visible_in_snapshot(f.xid, delivered) as waits from first f
    where f.occurred_at < now() - keep_undelivered or f.occurred_at < now() - keep and pg_visible_in_snapshot(f.xid, delivered)
  ),
  gone as (delete from rowcast.event e using old where e.id = old.id returning old.xid, old.waits),
  highest as (select ((g.xid::text::numeric + 1)::text)::xid8 as xid from gone g order by g.xid desc limit 1),
  moved as (update rowcast.installation i set floor = h.xid from highest h where i.floor < h.xid)
  select count(*), count(*) filter (where g.waits) into removed, undelivered from gone g;
  select i.floor into remove_old.floor from rowcast.installation i;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.send(type text, data json, audience text[] DEFAULT '{all}'::text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  event_id bigint;
begin
  if type is null or type !~ '^[[:graph:]]{1,100}$' then
    raise exception 'rowcast: type is %', quote_nullable(left(type, 120)) using errcode = 'invalid_parameter_value',
      hint = 'A type is a word of 1 to 100 characters without spaces: upload_progress.';
  elsif type in ('READY', 'BATCH') then
    raise exception 'rowcast: type % is Rowcast''s own', type using errcode = 'invalid_parameter_value', hint = 'Choose another name.';
  end if;
  perform rowcast.check_audience(audience, false);
  insert into rowcast.event (type, audience, data) values (type, audience, data) returning id into event_id;
  if not pg_try_advisory_xact_lock_shared(rowcast.lock_class(), 1) then perform pg_notify('rowcast_send', ''); end if;
  return event_id;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to(kind text, name text, type text, data json)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
begin
  if coalesce(name, '') = '' then
    raise exception 'rowcast: no % was given to send to', kind using errcode = 'invalid_parameter_value', hint = 'To reach everybody, use rowcast.broadcast().';
  end if;
  return rowcast.send(type, data, array[kind || ':' || name]);
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_connection(connection_id text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('connection', connection_id, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_role(role text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('role', role, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_room(room text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('room', room, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_user(user_id text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('user', user_id, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.unwatch(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
declare
  w rowcast.watched; operation text;
begin
  delete from rowcast.watched x where x.target = unwatch.target returning * into w;
  if not found then
    raise exception 'rowcast: % is not watched', coalesce(target::text, 'null') using errcode = 'undefined_object',
      hint = 'select target from rowcast.watched lists what is.';
  end if;
  foreach operation in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop trigger if exists %I on %s', 'zzz_rowcast_' || operation, target);
  end loop;
  execute format('drop function if exists rowcast.%I()', w.capture);
  perform pg_notify('rowcast_control', '');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.watch(target regclass, entity text DEFAULT NULL::text, audience text[] DEFAULT '{all}'::text[], columns text[] DEFAULT NULL::text[], operations text[] DEFAULT '{insert,update,delete}'::text[], include_old boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
declare
  w rowcast.watched; table_name text; operation text; wanted text[];
begin
  perform rowcast.forget_dropped();
  select relname into table_name from pg_class where oid = target;
  w := (target, coalesce(upper(entity), left(regexp_replace(upper(table_name), '[^A-Z0-9_]', '_', 'g'), 63)), audience, columns,
    (select array_agg(lower(o)) from unnest(operations) o), coalesce(include_old, false),
    rowcast.fit_name('rowcast_' || table_name), (select x.capture from rowcast.watched x where x.target = watch.target), now());
  perform rowcast.check_watch(w);
  w.capture := coalesce(w.capture, 'capture_' || nextval('rowcast.capture_number'));
  wanted := w.operations || case when 'delete' = any (w.operations) then '{truncate}'::text[] else '{}' end;
  if rowcast.is_installed(w, array(select 'zzz_rowcast_' || o from unnest(wanted) o)) then return; end if;

  execute format('create or replace function rowcast.%I() returns trigger language plpgsql security definer'
    ' set search_path = pg_catalog, pg_temp set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = ''iso_8601'''
    ' set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C'' as %L', w.capture, rowcast.capture_body(w));
  execute format('revoke all on function rowcast.%I() from public', w.capture);
  foreach operation in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop trigger if exists %I on %s', 'zzz_rowcast_' || operation, target);
    continue when not operation = any (wanted);
    execute format('create trigger %I after %s on %s for each %s %s execute function rowcast.%I()', 'zzz_rowcast_' || operation, operation, target,
      case operation when 'truncate' then 'statement' else 'row' end,
      -- Named columns are compared in the function: a trigger that names one stands in the way of ALTER TABLE.
      case when operation = 'update' and w.columns is null then 'when (old *<> new)' else '' end, w.capture);
    execute format('alter table %s enable always trigger %I', target, 'zzz_rowcast_' || operation);
  end loop;

  delete from rowcast.watched x where x.target = w.target;
  insert into rowcast.watched select (w).*;
  perform pg_notify('rowcast_control', '');
end $function$
;

CREATE TRIGGER zzz_rowcast_delete AFTER DELETE ON public.complaints FOR EACH ROW EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER zzz_rowcast_insert AFTER INSERT ON public.complaints FOR EACH ROW EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER zzz_rowcast_truncate AFTER TRUNCATE ON public.complaints FOR EACH STATEMENT EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER zzz_rowcast_update AFTER UPDATE ON public.complaints FOR EACH ROW WHEN ((old.* *<> new.*)) EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER zzz_rowcast_delete AFTER DELETE ON public.messages FOR EACH ROW EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER zzz_rowcast_insert AFTER INSERT ON public.messages FOR EACH ROW EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER zzz_rowcast_truncate AFTER TRUNCATE ON public.messages FOR EACH STATEMENT EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER zzz_rowcast_update AFTER UPDATE ON public.messages FOR EACH ROW WHEN ((old.* *<> new.*)) EXECUTE FUNCTION rowcast.capture_1(); -- always
