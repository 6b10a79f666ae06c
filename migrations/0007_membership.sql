-- Up Migration
-- Membership as rows: rowcast.rooms_from() has a table of the application's say who is in which
-- room. A trigger keeps rowcast.membership, and each transaction that changes it appends one event
-- to the log, so that relays hear of it in commit order (src/relay/membership.ts).
-- Locks: none here. rooms_from() takes SHARE ROW EXCLUSIVE on its table and the partitions (ACCESS
-- EXCLUSIVE where it replaces triggers), no_rooms_from() ACCESS EXCLUSIVE, until the transaction
-- ends. Both give up after 3 s.
-- Rights: a writer needs none on the schema. The trigger functions run as Rowcast's role, and call
-- nothing of a user's: a column's text is made by the output function of its type.

-- One row a table; rowcast.room_sources is the view to read. `name` is the table's name when
-- rooms_from() was called. `problem`: rows could not be read, and since then the table puts nobody
-- in a room.
create table rowcast.room_source (
  source integer generated always as identity primary key,
  target regclass not null unique,
  name text not null,
  user_id text not null,
  room text not null,
  problem text
);

select rowcast.keep_apart('rowcast.room_source');
select rowcast.make_private('rowcast.room_source');

create view rowcast.member as
  select distinct m.user_id, m.room
  from rowcast.membership m
  join rowcast.room_source s on s.source = m.source
  join pg_class c on c.oid = s.target
  where m.left_id is null;
select rowcast.make_private('rowcast.member');
comment on view rowcast.member is 'Who is in which room by the tables of rowcast.rooms_from().';

-- Runs as the transaction commits: once, however many memberships it has changed.
create function rowcast.commit_memberships() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  update rowcast.membership_commit c
  set snapshot = pg_current_snapshot(), event_id = rowcast.append('MEMBERS', null, '{}')
  where c.xid = new.xid;
  return null;
end $$;
create constraint trigger commit_memberships after insert on rowcast.membership_commit
  deferrable initially deferred for each row execute function rowcast.commit_memberships();
alter table rowcast.membership_commit enable always trigger commit_memberships;

-- The place of a change among the events of its transaction.
create function rowcast.place_of_change() returns bigint language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  insert into rowcast.membership_commit default values on conflict do nothing;
  return nextval('rowcast.event_id_seq');
end $$;

-- One row more says that the user is in the room.
create function rowcast.join_room(source integer, user_id text, room text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if exists (select from rowcast.room_source s
    where s.source = join_room.source and s.problem is not null) then return; end if;
  update rowcast.membership m set rows = m.rows + 1
  where m.source = join_room.source and m.user_id = join_room.user_id and m.room = join_room.room
    and m.left_id is null;
  if found then return; end if;
  insert into rowcast.membership as m (source, user_id, room, rows, joined_id)
  values (join_room.source, join_room.user_id, join_room.room, 1, rowcast.place_of_change())
  on conflict (source, user_id, room) where left_id is null do update set rows = m.rows + 1;
end $$;

-- One row less says so.
create function rowcast.leave_room(source integer, user_id text, room text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  update rowcast.membership m
  set rows = m.rows - 1,
    left_id = case when m.rows <= 1 then rowcast.place_of_change() end,
    left_xid = case when m.rows <= 1 then pg_current_xact_id() end
  where m.source = leave_room.source and m.user_id = leave_room.user_id
    and m.room = leave_room.room and m.left_id is null;
end $$;

-- Nobody is in a room by the source any more.
create function rowcast.empty_rooms(source integer) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  place bigint;
begin
  if not exists (select from rowcast.membership m
    where m.source = empty_rooms.source and m.left_id is null) then return; end if;
  place := rowcast.place_of_change();
  update rowcast.membership m set rows = 0, left_id = place, left_xid = pg_current_xact_id()
  where m.source = empty_rooms.source and m.left_id is null;
end $$;

-- A row of the source cannot be read. The write goes on; who was removed by it must not stay, so
-- nobody does.
create function rowcast.close_rooms(source integer, problem text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  update rowcast.room_source s set problem = left(close_rooms.problem, 500)
  where s.source = close_rooms.source and s.problem is null;
  if not found then return; end if;
  perform rowcast.empty_rooms(source);
  raise warning 'rowcast: nobody is in a room by % any more, because a row could not be read: %; '
    'call rowcast.rooms_from() again',
    (select s.name from rowcast.room_source s where s.source = close_rooms.source), problem;
end $$;

-- The source as a watch whose audience is a user and a room: by its terms a row says who is where.
create function rowcast.as_watch(s rowcast.room_source) returns rowcast.capture
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  w rowcast.capture;
begin
  w.target := s.target;
  w.audience := array[format('user:<%s>', s.user_id), 'room:' || s.room];
  w.shape := rowcast.shape_of(s.target);
  return w;
end $$;

-- SQL for the terms of one row: two, or the row puts nobody in a room.
create function rowcast.stay_sql(s rowcast.room_source, record text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select rowcast.audience_sql(rowcast.as_watch(s), record) $$;

-- The name of a term, in NFC, as connections have it.
create function rowcast.name_in(term text) returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select case
    when octet_length(term) = char_length(term) or getdatabaseencoding() <> 'UTF8'
      then substr(term, 6)
    else normalize(substr(term, 6), NFC) end
$$;

-- The body of a source's trigger function. It runs for joining before the row is captured, and for
-- leaving after that (rooms_triggers()).
create function rowcast.rooms_body(s rowcast.room_source) returns text language sql stable
set search_path = pg_catalog, pg_temp as $template$
  select rowcast.fill($body$
declare
  was text[] := '{}'; now_is text[] := '{}';
begin
  if tg_op = 'TRUNCATE' then
    perform rowcast.empty_rooms({{source}});
    return null;
  end if;
  begin
    if tg_op <> 'INSERT' then was := {{old}}; end if;
    if tg_op <> 'DELETE' then now_is := {{new}}; end if;
  exception when others or assert_failure then
    perform rowcast.close_rooms({{source}}, sqlstate || ': ' || sqlerrm);
    return null;
  end;
  if was is not distinct from now_is then return null; end if;
  if tg_argv[0] = 'join' then
    if cardinality(now_is) = 2 then
      perform rowcast.join_room(
        {{source}}, rowcast.name_in(now_is[1]), rowcast.name_in(now_is[2]));
    end if;
  elsif cardinality(was) = 2 then
    perform rowcast.leave_room({{source}}, rowcast.name_in(was[1]), rowcast.name_in(was[2]));
  end if;
  return null;
end $body$, jsonb_build_object('source', s.source,
    'old', rowcast.stay_sql(s, 'old'), 'new', rowcast.stay_sql(s, 'new')))
$template$;

create function rowcast.rooms_function(s rowcast.room_source) returns text
language sql immutable
set search_path = pg_catalog, pg_temp as $$ select 'rooms_' || s.source $$;

-- The triggers of a source. They fire by name, around those of watch(): who joins by a row that is
-- itself for the room gets it, and who leaves by one, too.
create function rowcast.rooms_triggers()
returns table (name text, operations text, argument text, level text)
language sql immutable
set search_path = pg_catalog, pg_temp as $$
  values ('!rooms_join', 'insert or update', 'join', 'row'),
    ('!rowcast_vacate', 'update or delete', 'leave', 'row'),
    ('!rowcast_vacate_all', 'truncate', 'leave', 'statement')
$$;

-- A relation without a trigger that the source needs.
create function rowcast.rooms_trigger_gone(s rowcast.room_source) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp as $$
  select r.relation
  from rowcast.rooms_triggers() t,
    rowcast.relations_with_trigger(s.target, t.operations) r (relation)
  where not exists (select from pg_trigger g
    where g.tgrelid = r.relation and g.tgname = t.name and g.tgenabled = 'A')
  limit 1
$$;

-- Why the table does not put its users in rooms as it should; null where it does.
create function rowcast.rooms_problem(s rowcast.room_source) returns text language sql stable
set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
  select case
    when not exists (select from pg_class c where c.oid = s.target)
      then 'it was dropped; select rowcast.forget_dropped_rooms()'
    when s.problem is not null
      then format('a row could not be read (%s): it puts nobody in a room', s.problem)
    when rowcast.column_gone(rowcast.as_watch(s)) is not null
      then format('column %I was renamed or dropped', rowcast.column_gone(rowcast.as_watch(s)))
    when rowcast.rooms_trigger_gone(s) is not null
      then format('a trigger of %s is missing or disabled', rowcast.rooms_trigger_gone(s))
    when rowcast.named(s.name) <> s.target then format('%s is another table now', s.name)
    when (select p.prosrc from pg_proc p where p.proname = rowcast.rooms_function(s)
      and p.pronamespace = 'rowcast'::regnamespace) is distinct from rowcast.rooms_body(s)
      then 'it was altered since'
  end
$$;

create view rowcast.room_sources as
  select s.target, s.user_id, s.room,
    p.problem || case when p.problem like 'it was dropped%' then ''
      else '; call rowcast.rooms_from() again' end as problem
  from rowcast.room_source s
  cross join lateral (select rowcast.rooms_problem(s)) p (problem);
select rowcast.make_private('rowcast.room_sources');
comment on view rowcast.room_sources is
  'The tables of rowcast.rooms_from(): a row each. problem is null where all is well.';

-- Refuses a table that cannot say who is in which room.
create function rowcast.check_rooms(s rowcast.room_source) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  relation pg_class;
  w rowcast.capture;
begin
  select * into relation from pg_class where oid = s.target;
  if relation is null then
    perform rowcast.refuse('no table was given to take rooms from',
      'Name it as in SQL: select rowcast.rooms_from(''app.members'', ''user_id'', '
        '''team-<team_id>'').', 'undefined_table');
  elsif relation.relkind in ('v', 'm', 'f') then
    perform rowcast.refuse(
      format('%s is not a table, and nothing tells when what it computes changes', s.target),
      'Keep who is in which room in a table, by triggers or by the application, and name that.',
      'wrong_object_type');
  elsif relation.relkind not in ('r', 'p') or relation.relpersistence = 't'
    or relation.relnamespace::regnamespace::text ~ '^(pg_.*|information_schema|rowcast)$' then
    perform rowcast.refuse(
      format('%s is no table of the application''s own', s.target),
      'Name the ordinary or partitioned table that has a row for each user in a room.',
      'wrong_object_type');
  elsif coalesce(s.user_id, '') = '' or s.user_id ~ '[<>]' then
    perform rowcast.refuse(
      format('user_id is %s', quote_nullable(s.user_id)),
      'Name the column that has the user''s id, without brackets: user_id => ''user_id''.');
  elsif coalesce(s.room, '') = '' then
    perform rowcast.refuse(
      format('room is %s', quote_nullable(s.room)),
      'Name the room, with columns in angle brackets: room => ''team-<team_id>''.');
  end if;
  w := rowcast.as_watch(s);
  perform rowcast.check_audience(w.audience, true);
  perform rowcast.check_columns(w);
end $$;

-- Has a table say who is in which room: `user_id` is the column that has the user's id, `room` the
-- room's name with columns in angle brackets. A row with a null there puts nobody in a room.
-- Called again it takes the table anew, and leaves alone whoever stays.
create function rowcast.rooms_from(target regclass, user_id text, room text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s' set client_min_messages = 'warning' as $$
declare
  s rowcast.room_source;
  former regclass;
  is_sound boolean;
begin
  perform rowcast.check_caller(target);
  lock table rowcast.room_source in share row exclusive mode;
  perform rowcast.forget_dropped_rooms();
  select * into s from rowcast.room_source k where k.target = rooms_from.target;
  is_sound := s.user_id = rooms_from.user_id and s.room = rooms_from.room
    and rowcast.rooms_problem(s) is null;
  s.target := target;
  s.name := rowcast.name_of(target);
  s.user_id := rooms_from.user_id;
  s.room := rooms_from.room;
  s.problem := null;
  perform rowcast.check_rooms(s);
  -- The table that had the name before (an online schema change).
  select k.target into former from rowcast.room_source k
  where k.name = s.name and k.target <> s.target;
  if found then perform rowcast.no_rooms_from(former); end if;
  perform rowcast.lock_target(target, case when s.source is null or is_sound
    then 'share row exclusive' else 'access exclusive' end);
  if s.source is null then
    insert into rowcast.room_source (target, name, user_id, room)
    values (s.target, s.name, s.user_id, s.room) returning source into s.source;
  else
    update rowcast.room_source k
    set name = s.name, user_id = s.user_id, room = s.room, problem = null
    where k.source = s.source;
  end if;
  if is_sound is not true then perform rowcast.make_rooms_triggers(s); end if;
  perform rowcast.take_rooms(s);
end $$;

-- Makes a source's function, and its triggers anew.
create function rowcast.make_rooms_triggers(s rowcast.room_source) returns void language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = 'warning' set quote_all_identifiers = off as $$
declare
  t record;
  function text := format('rowcast.%I()', rowcast.rooms_function(s));
begin
  -- The settings under which a watched row's audience is made (make_functions()).
  execute format('create or replace function %s returns trigger'
    ' language plpgsql security definer set search_path = pg_catalog, pg_temp'
    ' set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = ''iso_8601'''
    ' set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C'' as %L',
    function, rowcast.rooms_body(s));
  execute format('revoke all on function %s from public', function);
  perform rowcast.give(function, (
    select nspowner::regrole::text from pg_namespace where nspname = 'rowcast'));
  for t in select * from rowcast.rooms_triggers() loop
    execute format('drop trigger if exists %I on %s', t.name, s.target);
    execute format('create trigger %I after %s on %s for each %s execute function rowcast.%I(%L)',
      t.name, t.operations, s.target, t.level, rowcast.rooms_function(s), t.argument);
    execute format('alter table %s enable always trigger %I', s.target, t.name);
  end loop;
exception when object_in_use then
  perform rowcast.refuse_in_use(s.target);
end $$;

-- Has the memberships of a source be what its table says. The caller has locked that.
create function rowcast.take_rooms(s rowcast.room_source) returns void language plpgsql
set search_path = pg_catalog, pg_temp set row_security = off
set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'iso_8601'
set bytea_output = 'hex' set extra_float_digits = 1 set lc_monetary = 'C' as $$
declare
  place bigint := rowcast.place_of_change();
begin
  execute format($sql$
    with truth as (
      select rowcast.name_in(t.terms[1]) as user_id, rowcast.name_in(t.terms[2]) as room,
        count(*)::integer as rows
      from %1$s r cross join lateral (select %2$s as terms) t
      where cardinality(t.terms) = 2 group by 1, 2
    ),
    -- Once: the next two leave alone what the other changes.
    known as materialized (
      select m.ctid, m.user_id, m.room, truth.rows
      from rowcast.membership m left join truth using (user_id, room)
      where m.source = $1 and m.left_id is null
    ),
    changed as (
      update rowcast.membership m
      set rows = coalesce(known.rows, 0),
        left_id = case when known.rows is null then $2 end,
        left_xid = case when known.rows is null then pg_current_xact_id() end
      from known where m.ctid = known.ctid and m.rows is distinct from known.rows
    )
    insert into rowcast.membership (source, user_id, room, rows, joined_id)
    select $1, truth.user_id, truth.room, truth.rows, $2 from truth
    where not exists (select from known k
      where k.user_id = truth.user_id and k.room = truth.room)
  $sql$, s.target, rowcast.stay_sql(s, 'r')) using s.source, place;
end $$;

-- The table says no more who is in which room.
create function rowcast.no_rooms_from(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s' set client_min_messages = 'warning' as $$
declare
  s rowcast.room_source;
  t record;
begin
  perform rowcast.check_caller(target);
  lock table rowcast.room_source in share row exclusive mode;
  select * into s from rowcast.room_source k where k.target = no_rooms_from.target;
  if not found then
    perform rowcast.refuse(
      format('no rooms are taken from %s', coalesce(target::text, 'null')),
      'select target from rowcast.room_sources lists the tables.', 'undefined_object');
  end if;
  perform rowcast.lock_target(target, 'access exclusive');
  begin
    for t in select * from rowcast.rooms_triggers() loop
      execute format('drop trigger if exists %I on %s', t.name, s.target);
    end loop;
  exception when object_in_use then
    perform rowcast.refuse_in_use(target);
  end;
  perform rowcast.forget_source(s);
end $$;

create function rowcast.forget_source(s rowcast.room_source) returns void language plpgsql
set search_path = pg_catalog, pg_temp set client_min_messages = 'warning' as $$
begin
  perform rowcast.empty_rooms(s.source);
  delete from rowcast.room_source k where k.source = s.source;
  execute format('drop function if exists rowcast.%I()', rowcast.rooms_function(s));
end $$;

-- Forgets tables that were dropped.
create function rowcast.forget_dropped_rooms() returns void language sql
set search_path = pg_catalog, pg_temp as $$
  select rowcast.forget_source(s) from rowcast.room_source s
  where not exists (select from pg_class c where c.oid = s.target)
$$;

-- Down Migration
-- Locks: ACCESS EXCLUSIVE on each table of rooms_from() for an instant, to take its triggers away.
-- Nobody is in a room by a table after it: call rooms_from() again once it is up.
set local lock_timeout = '5s';
select rowcast.forget_dropped_rooms();
select rowcast.no_rooms_from(target) from rowcast.room_source;
-- The deferred trigger is to run while its tables are there.
set constraints all immediate;
drop function rowcast.rooms_from(regclass, text, text);
drop function rowcast.no_rooms_from(regclass);
drop function rowcast.forget_dropped_rooms();
drop function rowcast.forget_source(rowcast.room_source);
drop function rowcast.take_rooms(rowcast.room_source);
drop function rowcast.make_rooms_triggers(rowcast.room_source);
drop function rowcast.check_rooms(rowcast.room_source);
drop view rowcast.room_sources;
drop function rowcast.rooms_problem(rowcast.room_source);
drop function rowcast.rooms_trigger_gone(rowcast.room_source);
drop function rowcast.rooms_triggers();
drop function rowcast.rooms_function(rowcast.room_source);
drop function rowcast.rooms_body(rowcast.room_source);
drop function rowcast.name_in(text);
drop function rowcast.stay_sql(rowcast.room_source, text);
drop function rowcast.as_watch(rowcast.room_source);
drop function rowcast.close_rooms(integer, text);
drop function rowcast.empty_rooms(integer);
drop function rowcast.leave_room(integer, text, text);
drop function rowcast.join_room(integer, text, text);
drop function rowcast.place_of_change();
drop view rowcast.member;
drop trigger commit_memberships on rowcast.membership_commit;
drop function rowcast.commit_memberships();
drop table rowcast.room_source;
delete from rowcast.membership;
delete from rowcast.membership_commit;
