-- Up Migration
-- The two tables that are watched from the start: existing tables are used, missing ones made.
-- Locks: SHARE ROW EXCLUSIVE on a table that was there, for an instant; gives up after 3 s.

do $$ begin
  if to_regclass('public.messages') is null then
    create table public.messages (
      id bigint generated always as identity primary key,
      sender text,
      recipient text,
      content text not null,
      status text not null default 'sent',
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    comment on table public.messages is 'Made by Rowcast.';
  end if;
  if to_regclass('public.complaints') is null then
    create table public.complaints (
      id bigint generated always as identity primary key,
      title text not null,
      details text,
      status text not null default 'open',
      reporter text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    comment on table public.complaints is 'Made by Rowcast.';
  end if;
end $$;

-- A table of the application's may have no primary key: then an update needs the old row to say
-- which it was. What is no table (a view of that name) is left alone.
select rowcast.watch(c.oid, t.entity, include_old => not exists (
  select from pg_index i where i.indrelid = c.oid and i.indisprimary))
from (values ('messages', 'MESSAGE'), ('complaints', 'COMPLAINT')) t (name, entity)
join pg_class c on c.relname = t.name and c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p');

-- Down Migration
-- Takes the triggers away, and each table only where Rowcast made it, nobody has put a row in, and
-- nothing refers to it.
-- Locks: ACCESS EXCLUSIVE on both tables for an instant.
set local lock_timeout = '5s';
do $$
declare
  ours regclass; filled boolean;
begin
  foreach ours in array array[to_regclass('public.messages'), to_regclass('public.complaints')] loop
    continue when ours is null;
    if rowcast.is_watched(ours) then perform rowcast.unwatch(ours); end if;
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
