-- Up Migration
-- The two tables that are watched from the start: existing tables are used, missing ones made.
-- Locks: SHARE ROW EXCLUSIVE on a table that was there, for an instant; gives up after 3 s.

-- alter database NAME set rowcast.watch_defaults = off: none is made, and none watched.
--
-- Private first: a table that was there and has row level security is watched with its key alone,
-- and one that `down` took from a narrower watch is watched as it was.

-- Makes a table that is missing.
create function pg_temp.make_missing(name text, columns text) returns void language plpgsql as $$
begin
  if to_regclass('public.' || name) is not null
    or current_setting('rowcast.watch_defaults', true) = 'off' then return; end if;
  execute format('create table public.%I ('
    'id bigint generated always as identity primary key, %s,'
    ' created_at timestamptz not null default now(),'
    ' updated_at timestamptz not null default now())', name, columns);
  execute format('comment on table public.%I is %L', name, 'Made by Rowcast.');
end $$;
select pg_temp.make_missing('messages',
  $$sender text, recipient text, content text not null, status text not null default 'sent'$$);
select pg_temp.make_missing('complaints',
  $$title text not null, details text, status text not null default 'open', reporter text$$);

-- A table of the application's may have no primary key: then an update needs the old row to say
-- which it was. What is no table (a view of that name) is left alone.
do $$
declare
  found record;
  named text;
begin
  for found in
    select c.oid::regclass as target, t.entity, c.relrowsecurity as guarded, (
        select array_agg(a.attname::text order by a.attnum)
        from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary) as key
    from (values ('messages', 'MESSAGE'), ('complaints', 'COMPLAINT')) t (name, entity)
    join pg_class c on c.relname = t.name and c.relnamespace = 'public'::regnamespace
      and c.relkind in ('r', 'p')
    where current_setting('rowcast.watch_defaults', true) is distinct from 'off'
      and not exists (select from rowcast.kept_watches() k where k.name = rowcast.name_of(c.oid))
  loop
    if not found.guarded then
      perform rowcast.watch(found.target, found.entity, include_old => found.key is null);
    elsif found.key is not null then
      perform rowcast.watch(found.target, found.entity, columns => found.key);
    else
      raise notice 'rowcast: % has row level security and no primary key: it is not watched; '
        'select rowcast.watch() with its audience and columns', found.target;
    end if;
  end loop;
  for found in select * from rowcast.kept_watches() loop
    begin
      perform rowcast.watch(rowcast.named(found.name), found.entity, found.audience, found.columns,
        found.operations, found.include_old);
      delete from rowcast.kept_watch k where k.name = found.name;
    exception when others then
      raise warning 'rowcast: % is not watched as it was before the migrations were taken down: %',
        found.name, sqlerrm;
    end;
  end loop;
  if to_regclass('rowcast.kept_watch') is not null then
    if not exists (select from rowcast.kept_watch) then drop table rowcast.kept_watch; end if;
  end if;
  for named in
    select format('%s: %s go to %s; to narrow it: select rowcast.watch(%L, entity => %L, '
      'audience => ''{user:<column>}'', columns => ''{column,...}'')', c.target,
      coalesce(array_to_string(c.columns, ', '), 'all columns'),
      array_to_string(c.audience, ', '), c.target, c.entity)
    from rowcast.capture c order by c.target::text
  loop
    raise notice 'rowcast watches %', named;
  end loop;
end $$;

-- Down Migration
-- Takes the triggers away (a watch that was narrowed is kept), and each table only where Rowcast
-- made it, nobody has put a row in, and nothing refers to it.
-- Locks: ACCESS EXCLUSIVE on both tables for an instant.
set local lock_timeout = '5s';
do $$
declare
  ours regclass; filled boolean;
begin
  foreach ours in array array[to_regclass('public.messages'), to_regclass('public.complaints')] loop
    continue when ours is null;
    if rowcast.is_watched(ours) then
      perform rowcast.keep_watch(ours);
      perform rowcast.unwatch(ours);
    end if;
    continue when obj_description(ours, 'pg_class') is distinct from 'Made by Rowcast.'
      or not exists (select from pg_class where oid = ours and relkind = 'r');
    execute format('lock table %s in access exclusive mode', ours);
    execute format('select exists (select from %s)', ours) into filled;
    continue when filled;
    begin
      execute format('drop table %s', ours);
    exception when dependent_objects_still_exist then
      raise notice 'rowcast: % stays, because something of yours refers to it', ours;
    end;
  end loop;
end $$;
