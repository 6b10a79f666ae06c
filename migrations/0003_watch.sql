-- Up Migration
-- rowcast.watch() and rowcast.unwatch(), usable in any migration of the user's.
-- Locks: none here; see 0002_capture.sql for what the two functions take.

-- Raises what is wrong with the arguments of watch(), one clear error each.
create function rowcast.check_watch(w rowcast.watched) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
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
end $$;

-- Whether the table has the triggers, and the function the body, that `w` asks for.
create function rowcast.is_installed(w rowcast.watched, triggers text[]) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select exists (select from rowcast.watched x where (x.target, x.entity, x.audience, x.operations, x.include_old, x.capture)
      is not distinct from (w.target, w.entity, w.audience, w.operations, w.include_old, w.capture) and x.columns is not distinct from w.columns)
    and (select prosrc = rowcast.capture_body(w) from pg_proc where proname = w.capture and pronamespace = 'rowcast'::regnamespace)
    and triggers <@ array(select t.tgname::text from pg_trigger t where t.tgrelid = w.target and t.tgenabled = 'A')
$$;

-- Installs the triggers of one table, or replaces them; does nothing, and takes no lock, where all is
-- as it should be. They are row triggers: only those fire for rows written straight to a partition, and
-- only there `old` has its row. zzz_: triggers fire by name, and ours see what the others left. Always:
-- replication applies and restores into a watched table are writes too.
create function rowcast.watch(target regclass, entity text default null, audience text[] default '{all}', columns text[] default null,
  operations text[] default '{insert,update,delete}', include_old boolean default false) returns void language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '3s' as $$
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
end $$;

-- Takes the triggers of one table away.
create function rowcast.unwatch(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '3s' as $$
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
end $$;

-- Down Migration
-- Locks: ACCESS EXCLUSIVE on each watched table for an instant, to take its triggers away.
set local lock_timeout = '5s';
select rowcast.forget_dropped();
select rowcast.unwatch(target) from rowcast.watched;
drop function rowcast.unwatch(regclass);
drop function rowcast.watch(regclass, text, text[], text[], text[], boolean);
drop function rowcast.is_installed(rowcast.watched, text[]);
drop function rowcast.check_watch(rowcast.watched);
