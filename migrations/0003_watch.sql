-- Up Migration
-- rowcast.watch() and rowcast.unwatch(), usable in any migration of the user's.
-- Locks: none here; see 0002_capture.sql for what the two functions take.

-- Refuses a caller who may not change what is watched of `target`.
create function rowcast.check_caller(target regclass) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  owner regrole := (select relowner from pg_class where oid = target);
  installer regrole := (select nspowner from pg_namespace where nspname = 'rowcast');
begin
  if not has_schema_privilege('rowcast', 'create')
    or not has_table_privilege('rowcast.capture', 'insert, update, delete') then
    perform rowcast.refuse(
      format('permission denied: role %s may not change what is watched', current_user),
      format('Call it as %s, which applied the migrations, or as a superuser.', installer),
      'insufficient_privilege');
  elsif not pg_has_role(owner, 'member') then
    perform rowcast.refuse(
      format('permission denied: %s belongs to role %s, of which %s is no member',
        target, owner, current_user),
      format('Grant the one to the other (grant %s to %s), or call it as a superuser.',
        owner, quote_ident(current_user)),
      'insufficient_privilege');
  end if;
end $$;

-- Refuses a `target` that cannot be watched.
create function rowcast.check_target(target regclass) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  relation pg_class;
  other regclass;
begin
  select * into relation from pg_class where oid = target;
  if relation is null then
    perform rowcast.refuse(
      'no table was given to watch',
      'Name it as in SQL: select rowcast.watch(''app.orders'').',
      'undefined_table');
  elsif relation.relkind not in ('r', 'p') then
    perform rowcast.refuse(
      format('%s is not a table', target),
      'Watch the ordinary or partitioned table that holds the rows; '
        'views and foreign tables have no triggers of their own.',
      'wrong_object_type');
  elsif relation.relpersistence = 't' then
    perform rowcast.refuse(
      format('%s is a temporary table', target),
      'Only its own session could see its rows.',
      'wrong_object_type');
  elsif relation.relnamespace::regnamespace::text ~ '^(pg_.*|information_schema|rowcast)$' then
    perform rowcast.refuse(
      format('%s belongs to schema %s', target, relation.relnamespace::regnamespace),
      'Watch a table of your own.',
      'wrong_object_type');
  end if;
  -- A row of a partition would be an event of both.
  select c.target into other from rowcast.capture c
  where c.target <> check_target.target and (
    c.target in (select p.relid from pg_partition_ancestors(check_target.target) p)
    or c.target in (select p.relid from pg_partition_tree(check_target.target) p))
  limit 1;
  if found then
    perform rowcast.refuse(
      format('%s shares its rows with %s, which is watched already', target, other),
      format('Watch one of the two: select rowcast.unwatch(%L) first.', other),
      'object_in_use');
  end if;
  if relation.relkind = 'r' and exists (
    select from pg_inherits i where i.inhparent = target) then
    raise warning 'rowcast: rows of tables that inherit from % are not captured; '
      'watch those as well', target;
  end if;
end $$;

-- Refuses columns that are none of the table's, or named twice.
create function rowcast.check_columns(w rowcast.capture) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  named text;
begin
  for named in select unnest(w.columns || rowcast.audience_columns(w.audience)) loop
    if not exists (select from pg_attribute a
      where a.attrelid = w.target and a.attname = named and a.attnum > 0
        and not a.attisdropped) then
      perform rowcast.refuse(
        format('%s has no column %s', w.target, quote_nullable(named)),
        'Columns are named as \d shows them, without quotes.',
        'undefined_column');
    end if;
  end loop;
  select c into named from unnest(w.columns) c group by c having count(*) > 1 limit 1;
  if found then
    perform rowcast.refuse(
      format('columns names %s twice', quote_literal(named)), 'Name each column once.');
  end if;
end $$;

-- Refuses the first wrong one of the other arguments of watch().
create function rowcast.check_watch(w rowcast.capture) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
  if w.entity !~ '^[A-Z0-9_]{1,63}$' then
    perform rowcast.refuse(
      format('entity %s cannot be part of a type', quote_nullable(w.entity)),
      'Use letters, digits and underscores, at most 63: entity => ''ORDER'' gives NEW_ORDER.');
  end if;
  if coalesce(cardinality(w.operations), 0) = 0
    or not w.operations <@ '{insert,update,delete,truncate}' then
    perform rowcast.refuse(
      format('operations are %s', quote_nullable(w.operations::text)),
      'Use some of insert, update, delete, truncate; delete includes truncate.');
  end if;
  if array_ndims(w.columns) <> 1 or array_ndims(w.operations) <> 1 then
    perform rowcast.refuse('columns or operations is a list of lists', 'Write {id,status}.');
  elsif w.columns = '{}' then
    perform rowcast.refuse(
      'columns is empty',
      'Name the columns that may leave the database, or pass null for all.');
  end if;
  perform rowcast.check_audience(w.audience, true);
  perform rowcast.check_columns(w);
  -- An update brings the new row alone: without a key nobody can tell which row it was.
  if 'update' = any (w.operations) and not w.include_old and not exists (
    select from pg_index i where i.indrelid = w.target and i.indisprimary) then
    perform rowcast.refuse(
      format('%s has no primary key, so nobody could tell which row an update changed', w.target),
      'Add a primary key, or watch with include_old => true, '
        'or with operations => ''{insert,delete}''.',
      'invalid_table_definition');
  end if;
end $$;

-- !: triggers fire by name, and ours must be the first of the row's. A trigger of the application's
-- that changes the row once more would else have that change logged before the one that led to it.
create function rowcast.trigger_name(operation text) returns text language sql immutable
as $$ select '!rowcast_' || operation $$;

-- The operations whose triggers `w` needs.
create function rowcast.operations_with_trigger(w rowcast.capture) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select w.operations
    || case when 'delete' = any (w.operations) then '{truncate}'::text[] else '{}' end
$$;

-- The relations that have a trigger for an operation on `target`: itself, and for rows its
-- partitions. Foreign tables among those are left out, because they are written to elsewhere as
-- well: Postgres gives them the trigger, and nobody here can enable, lock or rely on it.
create function rowcast.relations_with_trigger(target regclass, operation text)
returns setof regclass language sql stable
set search_path = pg_catalog, pg_temp as $$
  select target
  union
  select c.oid from pg_partition_tree(target) p join pg_class c on c.oid = p.relid
  where operation <> 'truncate' and c.relkind in ('r', 'p')
$$;

-- The name that the table has now, as to_regclass() takes it.
create function rowcast.name_of(target regclass) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format('%I.%I', n.nspname, c.relname)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target
$$;

-- A column that `w` names and the table no longer has.
create function rowcast.column_gone(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select c from unnest(w.columns || rowcast.audience_columns(w.audience)) c
  where not exists (select from pg_attribute a
    where a.attrelid = w.target and a.attname = c and not a.attisdropped)
  limit 1
$$;

-- A column that the capture function, which goes by numbers, does not notice: others were added and
-- dropped before it.
create function rowcast.column_unseen(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select a.attname
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where a.attrelid = w.target and a.attnum > 0 and not a.attisdropped
    and w.columns is null and rowcast.is_exact(w) and c.relkind <> 'p'
    and not exists (select from jsonb_array_elements(w.shape) s where s ->> 'name' = a.attname)
    -- Where another of the columns is gone or new in its place, all are looked up.
    and not exists (select from jsonb_array_elements(w.shape) s where not exists (
      select from pg_attribute o
      where o.attrelid = w.target and o.attname = s ->> 'name' and not o.attisdropped))
    and not exists (select from rowcast.next_numbers(w) n join pg_attribute o
      on o.attrelid = w.target and o.attnum = n and not o.attisdropped)
  limit 1
$$;

-- A relation without a trigger that `w` needs.
create function rowcast.trigger_gone(w rowcast.capture) returns regclass language sql stable
set search_path = pg_catalog, pg_temp as $$
  select r.relation
  from unnest(rowcast.operations_with_trigger(w)) o,
    rowcast.relations_with_trigger(w.target, o) r (relation)
  where not exists (select from pg_trigger g
    where g.tgrelid = r.relation and g.tgname = rowcast.trigger_name(o) and g.tgenabled = 'A')
  limit 1
$$;

-- Rows of the table that were not captured whole; null where there are none. At most 1,000 are
-- counted.
create function rowcast.impaired(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select format('%s of its rows since %s were not captured whole, the last because of SQLSTATE %s '
      '(rowcast.event.problem has more)',
    count(*),
    to_char(w.watched_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
    split_part((array_agg(e.problem order by e.id desc))[1], ':', 1))
  from (select e.id, e.problem
    from rowcast.event e
    where e.problem is not null and e.occurred_at >= w.watched_at
      and e.source = (select n.nspname || '.' || c.relname
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.target)
    order by e.id desc limit 1000) e
  having count(*) > 0
$$;

-- Why rows of the table are not captured as `w` says; null where they are. A partition has row
-- triggers of its own.
create function rowcast.watch_problem(w rowcast.capture) returns text language sql stable
set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
  select case
    when rowcast.column_gone(w) is not null
      then format('column %I was renamed or dropped', rowcast.column_gone(w))
    when rowcast.trigger_gone(w) is not null
      then format('a trigger of %s is missing or disabled', rowcast.trigger_gone(w))
    when rowcast.named(w.name) <> w.target and not rowcast.is_watched(rowcast.named(w.name))
      then format('%s is another table now, which is not captured', w.name)
    when f.prosrc is distinct from rowcast.capture_body(w)
      or a.prosrc is distinct from rowcast.append_body(w) then 'the table was altered since'
    when f.proowner is distinct from r.relowner then 'the table has another owner'
    when not has_schema_privilege(f.proowner, 'rowcast', 'usage')
      or not has_function_privilege(f.proowner, a.oid, 'execute')
      or not has_table_privilege(a.proowner, 'rowcast.event', 'insert')
      then 'its owner may not append to the log'
    when rowcast.column_unseen(w) is not null
      then format('column %I is not captured', rowcast.column_unseen(w))
    else rowcast.impaired(w)
  end
  from pg_class r
  left join pg_proc f on f.proname = w.function and f.pronamespace = 'rowcast'::regnamespace
  left join pg_proc a on a.proname = rowcast.append_name(w.function)
    and a.pronamespace = 'rowcast'::regnamespace
  where r.oid = w.target
$$;

-- A table that was dropped stays in it while another one, which is not watched, has its name.
create view rowcast.watched as
  select coalesce(r.oid::regclass, rowcast.named(c.name)) as target,
    c.entity, c.audience, c.columns, c.operations, c.include_old, c.channel,
    case
      when r.oid is null
        then format('%s is another table now, which is not captured; select rowcast.rewatch(%L)',
          c.name, c.name)
      when p.problem like 'column %'
        then p.problem || '; call rowcast.watch() with its new name and the other arguments'
      when p.problem like '% is another table now, which is not captured'
        then format('%s; select rowcast.rewatch(%L)', p.problem, c.name)
      else p.problem || format('; select rowcast.rewatch(%L)', c.target)
    end as problem,
    c.watched_at,
    case when c.audience = '{all}' and c.columns is null
        and obj_description(r.oid, 'pg_class') is distinct from 'Made by Rowcast.'
      then 'all its columns go to all: name audience and columns in rowcast.watch()'
    end as warning
  from rowcast.capture c
  left join pg_class r on r.oid = c.target
  left join lateral (select rowcast.watch_problem(c)) p (problem) on true
  where r.oid is not null
    or rowcast.named(c.name) is not null and not rowcast.is_watched(rowcast.named(c.name));
select rowcast.make_private('rowcast.watched');
comment on view rowcast.watched is
  'What is watched, and how: a row a table. problem and warning are null where all is well.';

-- Locks a table with its partitions for a change of triggers. One deadline for all, because writers
-- queue behind each lock that is waited for, and behind those that are held meanwhile.
create function rowcast.lock_target(target regclass, mode text) returns void language plpgsql
set search_path = pg_catalog, pg_temp set lock_timeout = '3s' as $$
declare
  relation regclass;
  deadline timestamptz := clock_timestamp() + interval '3 s';
  left_ms integer;
begin
  for relation in
    select t from rowcast.relations_with_trigger(target, 'insert') t order by t <> target, t
  loop
    left_ms := (extract(epoch from deadline - clock_timestamp()) * 1000)::integer;
    perform set_config('lock_timeout', greatest(1, left_ms)::text, true);
    execute format('lock table only %s in %s mode', relation, mode);
  end loop;
end $$;

-- Makes the functions of `w`: one that captures and runs as the owner of the table, and one that
-- appends and runs as Rowcast's role, which that owner may call.
create function rowcast.make_functions(w rowcast.capture) returns void language plpgsql
set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
  owner text := (select relowner::regrole from pg_class where oid = w.target);
  installer text := (select nspowner::regrole from pg_namespace where nspname = 'rowcast');
  row_type text := rowcast.row_type(w.function);
  append text := format('rowcast.%I(text, text[], json, json, json, text)',
    rowcast.append_name(w.function));
begin
  execute format('drop type if exists rowcast.%I', row_type);
  if rowcast.is_exact(w) then
    execute (select format('create type rowcast.%I as (%s)', row_type,
        string_agg(format('%I %s', c.name, c.type), ', ' order by c.place))
      from rowcast.exact_columns(w, 'new') c);
    execute format('grant usage on type rowcast.%I to %s', row_type, owner);
  end if;
  execute format('create or replace function %s returns text language plpgsql security definer'
    ' set search_path = pg_catalog, pg_temp as %L', append, rowcast.append_body(w));
  perform rowcast.give(append, installer);
  execute format('revoke all on function %s from public', append);
  execute format('grant usage on schema rowcast to %s', owner);
  execute format('grant execute on function %s to %s', append, owner);
  execute format('create or replace function rowcast.%I() returns trigger'
    ' language plpgsql security definer set search_path = pg_catalog, pg_temp'
    ' set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = ''iso_8601'''
    ' set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C'''
    ' set quote_all_identifiers = off as %L', w.function, rowcast.capture_body(w));
  execute format('revoke all on function rowcast.%I() from public', w.function);
  perform rowcast.give(format('rowcast.%I()', w.function), owner);
end $$;

-- Gives a function to a role. That needs a right to make one in the schema, for the moment.
create function rowcast.give(function text, role text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  may boolean := has_schema_privilege(role::regrole, 'rowcast', 'create');
begin
  if (select proowner from pg_proc where oid = function::regprocedure) = role::regrole then
    return;
  end if;
  if not may then execute format('grant create on schema rowcast to %s', role); end if;
  execute format('alter function %s owner to %s', function, role);
  if not may then execute format('revoke create on schema rowcast from %s', role); end if;
end $$;

-- Takes back the right to use the schema that watch() gave to the owner of a table, once none of
-- its tables is watched any more.
create function rowcast.take_back(w rowcast.capture, owner oid) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  if w.granted and owner is not null and exists (select from pg_roles where oid = owner)
    and not exists (select from rowcast.capture c join pg_class r on r.oid = c.target
      where r.relowner = owner) then
    execute format('revoke usage on schema rowcast from %s', owner::regrole);
  end if;
end $$;

-- The channel of a table: its name's, unless that is one of Rowcast's own channels.
create function rowcast.channel_of(table_name text) returns text language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select rowcast.shorten_name(case
    when table_name in ('control', 'send', 'heartbeat') then 'rowcast_table_' || table_name
    else 'rowcast_' || table_name end)
$$;

-- Installs the triggers of one table, or replaces them; does nothing, and takes no lock on it,
-- where all is as it should be. They are row triggers: only those fire for rows written straight to
-- a partition and for applied replication, and only there `old` has its row. They fire always:
-- replication and restores into a watched table are writes too.
create function rowcast.watch(
  target regclass,
  entity text default null,
  audience text[] default '{all}',
  columns text[] default null,
  operations text[] default '{insert,update,delete}',
  include_old boolean default false
) returns void language plpgsql
set search_path = pg_catalog, pg_temp set client_min_messages = 'warning' as $$
declare
  w rowcast.capture;
  table_name text := (select relname from pg_class where oid = target);
begin
  perform rowcast.check_caller(target);
  perform rowcast.check_target(target);
  w.target := target;
  w.name := rowcast.name_of(target);
  w.entity := coalesce(
    upper(entity), left(regexp_replace(upper(table_name), '[^A-Z0-9_]', '_', 'g'), 63));
  w.audience := audience;
  w.columns := columns;
  w.operations := (select array_agg(lower(o)) from unnest(operations) o);
  w.include_old := coalesce(include_old, false);
  w.channel := rowcast.channel_of(table_name);
  perform rowcast.install(w);
end $$;

-- The work of watch() and rewatch(), which leave what is found here of `w` open. The table is
-- locked only where triggers change.
create function rowcast.install(w rowcast.capture) returns void language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s' set client_min_messages = 'warning' as $$
declare
  known rowcast.capture;
  owner oid := (select relowner from pg_class where oid = w.target);
  former oid;
begin
  perform rowcast.lock_watches();
  perform rowcast.forget_dropped();
  select * into known from rowcast.capture c where c.target = w.target;
  select proowner into former from pg_proc
  where proname = known.function and pronamespace = 'rowcast'::regnamespace;
  w.function := known.function;
  w.watched_at := known.watched_at;
  w.shape := rowcast.shape_of(w.target);
  w.granted := not has_schema_privilege(owner, 'rowcast', 'usage')
    or exists (select from rowcast.capture c join pg_class r on r.oid = c.target
      where c.granted and r.relowner = owner);
  perform rowcast.check_watch(w);
  if w is not distinct from known and rowcast.watch_problem(w) is null then return; end if;
  if known is null or known.operations <> w.operations or rowcast.trigger_gone(w) is not null then
    perform rowcast.lock_target(
      w.target, case when known is null then 'share row exclusive' else 'access exclusive' end);
  end if;
  w.function := coalesce(w.function, 'capture_' || nextval('rowcast.capture_number'));
  w.watched_at := clock_timestamp();
  perform rowcast.make_functions(w);
  if known is null or known.operations <> w.operations or rowcast.trigger_gone(w) is not null then
    perform rowcast.make_triggers(w);
  end if;

  delete from rowcast.capture c where c.target = w.target;
  insert into rowcast.capture select (w).*;
  if former <> owner then perform rowcast.take_back(known, former); end if;
  -- The name no longer means the table that had it before.
  perform rowcast.forget_dropped();
  update rowcast.capture c set name = rowcast.name_of(c.target)
  where c.name = w.name and c.target <> w.target;
  perform pg_notify('rowcast_control', '');
end $$;

-- One at a time: two would meet in the catalogs. Nobody without a right on this table can hold the
-- lock.
create function rowcast.lock_watches() returns void language sql
set search_path = pg_catalog, pg_temp
as 'lock table rowcast.capture in share row exclusive mode';

-- Makes the triggers of `w` anew, and takes away those that it does not need.
create function rowcast.make_triggers(w rowcast.capture) returns void language plpgsql
set search_path = pg_catalog, pg_temp set client_min_messages = 'warning' as $$
declare
  operation text;
  trigger_name text;
begin
  foreach operation in array array['insert', 'update', 'delete', 'truncate'] loop
    trigger_name := rowcast.trigger_name(operation);
    execute format('drop trigger if exists %I on %s', trigger_name, w.target);
    continue when not operation = any (rowcast.operations_with_trigger(w));
    execute format('create trigger %I after %s on %s for each %s execute function rowcast.%I()',
      trigger_name, operation, w.target,
      case operation when 'truncate' then 'statement' else 'row' end, w.function);
    execute format('alter table %s enable always trigger %I', w.target, trigger_name);
  end loop;
exception when object_in_use then
  perform rowcast.refuse_in_use(w.target);
end $$;

-- Speaks of watch() and unwatch(), and not of the statement in them that failed.
create function rowcast.refuse_in_use(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.refuse(
    format('%s was changed in this transaction, and its deferred triggers or constraints are still '
      'to run, or a query reads it', target),
    'Call it in a transaction of its own, or after: set constraints all immediate.',
    'object_in_use');
end $$;

create function rowcast.refuse_unwatched(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.refuse(
    format('%s is not watched', coalesce(target::text, 'null')),
    'select target from rowcast.watched lists what is.',
    'undefined_object');
end $$;

-- Repairs a watch with the arguments that watch() was given: called without them, that would take
-- its defaults, and address everybody. For a table that has taken the name of a watched one (an
-- online schema change), the watch goes over to it.
create function rowcast.rewatch(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  w rowcast.capture;
begin
  perform rowcast.check_caller(target);
  select * into w from rowcast.capture c where c.target = rewatch.target;
  if found then
    -- A mere rename; where another table has the name, that one is still meant.
    if rowcast.named(w.name) is null or rowcast.is_watched(rowcast.named(w.name)) then
      w.name := rowcast.name_of(target);
    end if;
    w.channel := rowcast.channel_of((select relname from pg_class where oid = target));
  else
    select * into w from rowcast.capture c where c.name = rowcast.name_of(rewatch.target);
    if not found then perform rowcast.refuse_unwatched(target); end if;
    perform rowcast.unwatch(w.target);
    perform rowcast.check_target(target);
    w.target := target;
  end if;
  perform rowcast.install(w);
end $$;

-- Takes the triggers of one table away. A table that was dropped may be named by the one that has
-- its name now.
create function rowcast.unwatch(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s' set client_min_messages = 'warning' as $$
declare
  w rowcast.capture;
begin
  perform rowcast.check_caller(target);
  perform rowcast.lock_watches();
  delete from rowcast.capture c
  where c.target = unwatch.target
    or c.name = rowcast.name_of(unwatch.target)
      and not exists (select from pg_class r where r.oid = c.target)
  returning * into w;
  if not found then perform rowcast.refuse_unwatched(target); end if;
  if exists (select from pg_class r where r.oid = w.target) then
    perform rowcast.lock_target(target, 'access exclusive');
    w.operations := '{}';
    perform rowcast.make_triggers(w);
  end if;
  perform rowcast.take_back(w, (
    select proowner from pg_proc
    where proname = w.function and pronamespace = 'rowcast'::regnamespace));
  perform rowcast.drop_function(w.function);
  perform pg_notify('rowcast_control', '');
end $$;

-- Remembers the arguments of a watch that sends less than all to all: `down`, then `up`, must not
-- widen it. The table rowcast.kept_watch is there between the two, where there is one.
create function rowcast.keep_watch(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp set client_min_messages = 'warning' as $$
declare
  w rowcast.capture := (select c from rowcast.capture c where c.target = keep_watch.target);
begin
  if w.audience = '{all}' and w.columns is null
    and w.operations @> '{insert,update,delete}' then return; end if;
  create table if not exists rowcast.kept_watch (
    name text primary key, entity text not null, audience text[] not null, columns text[],
    operations text[] not null, include_old boolean not null);
  insert into rowcast.kept_watch
  values (w.name, w.entity, w.audience, w.columns, w.operations, w.include_old)
  on conflict do nothing;
end $$;

-- The watches that an earlier `down` has kept, of tables that are there.
create function rowcast.kept_watches()
returns table (name text, entity text, audience text[], columns text[], operations text[],
  include_old boolean) language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
  if to_regclass('rowcast.kept_watch') is null then return; end if;
  return query execute 'select k.name, k.entity, k.audience, k.columns, k.operations, k.include_old'
    ' from rowcast.kept_watch k where rowcast.named(k.name) is not null';
end $$;

-- Down Migration
-- Locks: ACCESS EXCLUSIVE on each watched table for an instant, to take its triggers away.
set local lock_timeout = '5s';
select rowcast.forget_dropped();
select rowcast.keep_watch(target), rowcast.unwatch(target) from rowcast.capture;
drop function rowcast.kept_watches();
drop function rowcast.keep_watch(regclass);
drop function rowcast.unwatch(regclass);
drop function rowcast.rewatch(regclass);
drop function rowcast.refuse_unwatched(regclass);
drop function rowcast.watch(regclass, text, text[], text[], text[], boolean);
drop function rowcast.install(rowcast.capture);
drop function rowcast.lock_watches();
drop function rowcast.make_triggers(rowcast.capture);
drop function rowcast.refuse_in_use(regclass);
drop function rowcast.check_caller(regclass);
drop function rowcast.channel_of(text);
drop function rowcast.take_back(rowcast.capture, oid);
drop function rowcast.give(text, text);
drop function rowcast.make_functions(rowcast.capture);
drop function rowcast.lock_target(regclass, text);
drop view rowcast.watched;
drop function rowcast.watch_problem(rowcast.capture);
drop function rowcast.impaired(rowcast.capture);
drop function rowcast.trigger_gone(rowcast.capture);
drop function rowcast.column_unseen(rowcast.capture);
drop function rowcast.column_gone(rowcast.capture);
drop function rowcast.relations_with_trigger(regclass, text);
drop function rowcast.name_of(regclass);
drop function rowcast.operations_with_trigger(rowcast.capture);
drop function rowcast.trigger_name(text);
drop function rowcast.check_watch(rowcast.capture);
drop function rowcast.check_columns(rowcast.capture);
drop function rowcast.check_target(regclass);
