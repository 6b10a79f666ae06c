-- Up Migration
-- Presence: who is connected, and who of them is in which room. The relay that leads knows it from
-- its connections and writes it here, in batches, for triggers that decide between a message and a
-- push notification (src/presence/online-table.ts). Off until watch_presence() names a room.
-- Locks: none.
-- Rights: a role with USAGE on schema rowcast may ask. Who watches owns the schema.

create table rowcast.presence_watch (
  term text primary key
);
select rowcast.keep_apart('rowcast.presence_watch');
select rowcast.make_private('rowcast.presence_watch');

-- One row a user. `rooms`: those that are watched. `connections` is 0 for a moment after the last
-- has ended: most users are back at once. Unlogged: after a crash it is written anew.
create unlogged table rowcast.online (
  user_id text primary key,
  rooms text[] not null,
  connections integer not null,
  info json,
  since timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
create index online_rooms on rowcast.online using gin (rooms);
select rowcast.make_private('rowcast.online');

-- A relay leads, lives, and has said in its own time as the leader who is online: what another has
-- written before may be long over.
create function rowcast.is_presence_known() returns boolean language sql stable security definer
set search_path = pg_catalog, pg_temp as $$
  select exists (select from rowcast.lease l
    where l.online_term = l.term and l.until > clock_timestamp()
      and l.until <= clock_timestamp() + 2 * rowcast.lease_time())
$$;

create view rowcast.presence as
  select r.room, o.user_id, o.connections, o.info, o.since
  from rowcast.online o cross join lateral unnest(o.rooms) r (room)
  where (select rowcast.is_presence_known());
select rowcast.make_private('rowcast.presence');
comment on view rowcast.presence is
  'Who is in which watched room now, a second late at most; empty while no relay leads.';

-- The user has a connection, in whatever room. False where nobody knows, so that a trigger which
-- decides by it sends a push notification too many and none too few.
create function rowcast.is_online(user_id text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp as $$
  select exists (select from rowcast.online o
      where o.user_id = rowcast.name_in('user:' || is_online.user_id))
    and rowcast.is_presence_known()
$$;

-- For ids that are no text in the database: numbers, uuids.
create function rowcast.is_online(user_id anynonarray) returns boolean language sql stable
as $$ select rowcast.is_online(user_id::text) $$;

-- Ids of the users in a room that is watched.
create function rowcast.online_in(room text) returns setof text
language sql stable rows 20 security definer
set search_path = pg_catalog, pg_temp as $$
  select o.user_id from rowcast.online o
  where o.rooms @> array[rowcast.name_in('room:' || online_in.room)]
    and (select rowcast.is_presence_known())
$$;

-- Has clients in the room hear who else is there. `room:NAME`, or `room:BEGINNING*`.
create function rowcast.watch_presence(term text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.check_audience(array[term], false);
  if term !~ '^room:' or term ~ '[*].' then
    perform rowcast.refuse(
      format('%s is no room, nor the beginning of rooms'' names', quote_nullable(term)),
      'Name one as room:lobby, or many as room:team-*.');
  end if;
  insert into rowcast.presence_watch (term)
  values ('room:' || rowcast.name_in(term)) on conflict do nothing;
  perform pg_notify('rowcast_control', '');
end $$;

create function rowcast.unwatch_presence(term text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  delete from rowcast.presence_watch w
  where w.term = 'room:' || rowcast.name_in(unwatch_presence.term);
  if not found then
    perform rowcast.refuse(
      format('the presence of %s is not watched', quote_nullable(term)),
      'select term from rowcast.presence_watch lists what is.', 'undefined_object');
  end if;
  if not exists (select from rowcast.presence_watch) then
    update rowcast.lease set online_term = null;
    delete from rowcast.online;
  end if;
  perform pg_notify('rowcast_control', '');
end $$;

-- The relay of that term says who is online: `came` has rows of rowcast.online, `gone` ids. With
-- `whole` everybody has been named. Returns false where another relay leads. The lease stays as it
-- is until the end: nobody takes it in between.
create function rowcast.report_online(my_term bigint, came json, gone text[], whole boolean)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.check_leader();
  perform from rowcast.lease l where l.term = my_term for key share;
  if not found then return false; end if;
  delete from rowcast.online o where o.user_id = any (gone);
  insert into rowcast.online as o (user_id, rooms, connections, info)
  select c.user_id, c.rooms, c.connections, c.info
  from json_to_recordset(came) c (user_id text, rooms text[], connections integer, info json)
  on conflict (user_id) do update
  set rooms = excluded.rooms, connections = excluded.connections, info = excluded.info;
  if whole then
    update rowcast.lease l set online_term = my_term
    where l.term = my_term and exists (select from rowcast.presence_watch);
  end if;
  return true;
end $$;

-- Down Migration
-- Locks: none.
drop function rowcast.report_online(bigint, json, text[], boolean);
drop function rowcast.unwatch_presence(text);
drop function rowcast.watch_presence(text);
drop function rowcast.online_in(text);
drop function rowcast.is_online(anynonarray);
drop function rowcast.is_online(text);
drop view rowcast.presence;
drop function rowcast.is_presence_known();
drop table rowcast.online;
drop table rowcast.presence_watch;
update rowcast.lease set online_term = null;
