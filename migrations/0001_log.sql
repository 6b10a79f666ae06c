-- Up Migration
-- The log, the relay's cursor and the identity of this installation.
-- Locks: none that a user's statement could wait for; every object here is new.

do $$ begin
  if to_regclass('rowcast.event') is not null then
    raise exception 'Rowcast is already installed in this database' using hint =
      'Its migrations are recorded in rowcast.migrations: run `rowcast migrate up`, or `npx '
      'node-pg-migrate up --migrations-schema rowcast --migrations-table migrations`.';
  end if;
  -- A foreign owner of the schema could replace our functions.
  if exists (select from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = 'rowcast' and r.rolname <> current_user and not r.rolsuper) then
    raise exception 'schema rowcast belongs to another role' using hint =
      'Drop it, or give it to the role that migrates: alter schema rowcast owner to ROLE';
  end if;
end $$;

create schema if not exists rowcast;

-- Takes back whatever ALTER DEFAULT PRIVILEGES gave to others of a relation that was just made, or
-- of the schema: who has a right on the log has been given it by name (docs/sql.md).
create function rowcast.make_private(relation regclass default null) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  target text := coalesce('table ' || relation, 'schema rowcast');
  other text;
begin
  for other in
    select distinct case grantee when 0 then 'public' else grantee::regrole::text end
    from (select relacl as acl, relowner as owner from pg_class where oid = relation
      union all select nspacl, nspowner from pg_namespace
      where nspname = 'rowcast' and relation is null) o
    cross join aclexplode(o.acl) where grantee <> o.owner
  loop
    execute format('revoke all on %s from %s', target, other);
  end loop;
end $$;
select rowcast.make_private();

-- First key of Rowcast's advisory lock ('rowc' in ASCII), which belongs to one database, and second
-- key. The lock is held while the relay sleeps: ring it.
create function rowcast.lock_class() returns integer language sql immutable
as 'select x''726f7763''::int';
create function rowcast.doorbell_lock() returns integer language sql immutable as 'select 1';

comment on schema rowcast is 'Rowcast: relays committed rows to WebSocket clients.';

-- 244 bits of Postgres's strong random source.
create function rowcast.random_key() returns bytea language sql volatile
set search_path = pg_catalog, pg_temp
as 'select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())';

-- One row. A cursor token names the id, so that a token of another installation is told apart.
-- identity: the relay delivers only where it is this database's. A copy must not push to the
--   original's clients.
-- timeline: another one means that the database was restored to an earlier moment, or that a
--   replica took over, which may be missing the last transactions. The relay that notices calls
--   refetch().
-- floor: rows of transactions below may have been removed by retention.
-- cursor_key, former_cursor_key: sign the cursors of clients (src/relay/cursor-tokens.ts).
-- refetch_before: connections made before may have missed something, and hear `recovered: false`.
--   Null until a relay has noticed: the transaction that calls refetch() may last, and a client
--   that connects meanwhile fetches what was before it.
create table rowcast.installation (
  only_row boolean primary key default true check (only_row),
  id uuid not null default gen_random_uuid(),
  identity text not null,
  timeline integer not null,
  floor xid8 not null default '0',
  cursor_key bytea not null default rowcast.random_key(),
  former_cursor_key bytea,
  refetch_before timestamptz,
  installed_at timestamptz not null default now()
);

-- Tells this database from a copy of it: the cluster, the database in it, and the table, which a
-- restore of a dump into the same database makes anew. A dump restored elsewhere, a database made
-- from a template and logical copies differ; only a physical copy does not.
create function rowcast.database_identity() returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select system_identifier || '/' || d.oid || '/' || 'rowcast.installation'::regclass::oid
  from pg_control_system(), pg_database d where d.datname = current_database()
$$;

-- The timeline that is written to. The last checkpoint's is still the former one for a moment after
-- a replica was promoted.
create function rowcast.timeline() returns integer language sql stable
set search_path = pg_catalog, pg_temp as $$
  select greatest(c.timeline_id, r.min_recovery_end_timeline)
  from pg_control_checkpoint() c, pg_control_recovery() r
$$;

insert into rowcast.installation (identity, timeline)
values (rowcast.database_identity(), rowcast.timeline());

-- Types of frames that only the relay makes.
create function rowcast.is_own_type(type text) returns boolean language sql immutable
as $$ select type in ('READY', 'BATCH', 'ERROR', 'PRESENCE', 'ROOMS', 'DISCONNECT', 'MEMBERS',
  'pong') $$;

-- Bytes of an event's audience as it is stored: a thousand users whose ids are uuids.
create function rowcast.max_audience_bytes() returns integer language sql immutable
as 'select 65536';

-- No frame is larger: API Gateway's limit of a message
-- (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
create function rowcast.max_message_bytes() returns integer language sql immutable
as 'select 131072';

-- The log. A writer appends in its own transaction and touches nothing else.
-- xid: the writer's top-level transaction. A row's own xmin would be that of a savepoint.
-- key: filled only for rows that may be too large for a frame, so that the frame can name them.
-- problem: why the row is not here whole, or addresses nobody. The relay counts and reports these.
-- Only Rowcast's own role inserts here, in send() and in the append functions of tables, which
-- check what they are given. (As constraints of the table the same checks cost 18 us a row, of 8.)
create table rowcast.event (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  occurred_at timestamptz not null default clock_timestamp(),
  type text not null,
  audience text[] not null,
  data json,
  old json,
  source text,
  key json,
  problem text
);
create index event_problem_idx on rowcast.event (source, id) where problem is not null;
-- The id is in it so that the bounds of a window, however large, are read from the index alone.
create index event_xid_idx on rowcast.event (xid, id);
-- Retention removes as many rows as are written: vacuum early and often, so that their space is
-- used again.
alter table rowcast.event set (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
comment on table rowcast.event is
  'The log: committed events, in the order of id within a window.';

-- Calls of rowcast.disconnect() that a connection may still be missing: no connection is older than
-- two hours at API Gateway. The log has each of them as an event; where a replay does not read all
-- of the log, it looks here (src/relay/replay-group.ts).
create table rowcast.disconnected (
  event_id bigint primary key,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  term text not null,
  reason json
);
create index disconnected_at_idx on rowcast.disconnected (at);

-- Who is in which room by tables of the application's (0007_membership.sql): a user's stay by one
-- source, from one change to another. `rows` of the source say so now. An id is the place of a
-- change among the events of its own transaction. Stays that are over are kept as long as the log
-- has events from before their end: replays need them.
create table rowcast.membership (
  source integer not null,
  user_id text not null,
  room text not null,
  rows integer not null,
  joined_id bigint not null,
  joined_xid xid8 not null default pg_current_xact_id(),
  left_id bigint,
  left_xid xid8
) with (fillfactor = 80);
create unique index membership_now_idx on rowcast.membership (source, user_id, room)
  where left_id is null;
create index membership_user_idx on rowcast.membership (user_id);
create index membership_joined_idx on rowcast.membership (joined_xid);
create index membership_left_idx on rowcast.membership (left_xid) where left_xid is not null;

-- A transaction that changed memberships. `snapshot` is taken as it commits: what that sees was
-- committed before, and everything else after it. (In a transaction that is REPEATABLE READ it is
-- as old as the transaction.) `event_id`: its event in the log, appended then.
create table rowcast.membership_commit (
  xid xid8 primary key default pg_current_xact_id(),
  snapshot pg_snapshot not null default pg_current_snapshot(),
  event_id bigint
);

-- The relay's place in the log. Everything that `snapshot` sees was delivered to everybody, but for
-- those that `exceptions` names.
-- until, after_id, through_id: a backlog is delivered page by page. `until` is the end of its
--   window, rows up to after_id were delivered, and through_id is the last one.
-- exceptions (src/relay/exceptions.ts): connections that are missing something of what `snapshot`
--   sees, each with its own place, and young ones that have had their replay.
-- delivered: even the slowest connection has what it sees. Retention takes nothing else for
--   delivered.
-- served_until, served_snapshot: every connection made before that instant has had its replay. The
--   next leader replays what served_snapshot does not see to younger ones that are not named.
--   A new installation has served nobody.
-- installation: a relay that has not noticed a new installation cannot commit.
-- commits: a relay that finds fewer than it has made knows that the database was set back.
-- term: of the relay that leads (rowcast.lease). One that lost its lease cannot commit.
create table rowcast.cursor (
  consumer text primary key,
  installation uuid not null,
  snapshot pg_snapshot not null,
  until pg_snapshot,
  after_id bigint,
  through_id bigint,
  delivered pg_snapshot not null default pg_current_snapshot(),
  exceptions json not null default '{}',
  commits bigint not null default 0,
  term bigint not null default 0,
  served_until timestamptz not null default 'epoch',
  served_snapshot pg_snapshot not null default pg_current_snapshot(),
  updated_at timestamptz not null default now(),
  check ((until is null) = (after_id is null) and (until is null) = (through_id is null))
) with (fillfactor = 50);
insert into rowcast.cursor (consumer, installation, snapshot)
select 'relay', id, pg_current_snapshot() from rowcast.installation;

-- The right to deliver, in a row that only who may move the cursor may change. Unlogged: it is
-- written every three seconds and means nothing after a crash, when whoever comes first takes it.
-- holder, term: a relay's time as the leader. No commit of another term's passes rowcast.cursor.
-- until: its holder speaks before, or is followed.
-- pid, backend_start: the holder's session. Once that is over, the lease is free. When a session
--   began is null where the role that it took hides that.
-- quiet_until: nobody rings. Somebody else holds the doorbell's lock, which everybody may take, and
--   would have every writer notify. The relay polls meanwhile.
-- online_term: of the relay that has said who is online; null where nobody watches (0008).
create unlogged table rowcast.lease (
  only_row boolean primary key default true check (only_row),
  holder uuid not null,
  term bigint not null,
  until timestamptz not null,
  name text not null,
  pid integer not null,
  backend_start timestamptz,
  quiet_until timestamptz not null default '-infinity',
  online_term bigint
) with (fillfactor = 50);

-- How long a leader may be silent. It stops to trust its lease earlier (src/listener/lease.ts).
create function rowcast.lease_time() returns interval language sql immutable
as $$ select interval '12 seconds' $$;

-- Refuses a session that may not lead: only who may move the cursor may change the lease. It is the
-- session that counts, since the functions that ask run as Rowcast's role.
create function rowcast.check_leader() returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from pg_roles r where pg_has_role(session_user, r.oid, 'member')
    and has_table_privilege(r.oid, 'rowcast.cursor', 'update')) then
    raise exception 'permission denied: role % may not lead', session_user
      using errcode = 'insufficient_privilege';
  end if;
end $$;

-- Takes the lease where it is free: its holder has released it, is silent, or has lost its session.
-- `term` is null where another relay holds it, or this server is a standby. Where a silent holder's
-- session goes on, it returns the process, and for how long that was silent.
create function rowcast.take_lease(
  my_name text, out standby boolean, out holder uuid, out term bigint, out silent_pid integer,
  out silent_seconds integer
) language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  held rowcast.lease;
  session pg_stat_activity;
  mine timestamptz := (
    select a.backend_start from pg_stat_activity a where a.pid = pg_backend_pid());
begin
  standby := pg_is_in_recovery();
  if standby then return; end if;
  perform rowcast.check_leader();
  insert into rowcast.lease (holder, term, until, name, pid, backend_start)
  values (gen_random_uuid(), 0, '-infinity', my_name, pg_backend_pid(), mine)
  on conflict do nothing;
  -- A holder that speaks at this moment has the row locked.
  select * into held from rowcast.lease for update skip locked;
  if not found then return; end if;
  select * into session from pg_stat_activity a
  where a.pid = held.pid and coalesce(a.backend_start = held.backend_start, true);
  -- A clock that was set back leaves a lease of the far future.
  if session.pid is not null and held.until > clock_timestamp()
    and held.until <= clock_timestamp() + 2 * rowcast.lease_time() then
    return;
  end if;
  if session.pid <> pg_backend_pid() and held.until > '-infinity' then
    silent_pid := session.pid;
    silent_seconds := extract(epoch from
      clock_timestamp() - held.until + rowcast.lease_time())::integer;
  end if;
  update rowcast.cursor c set term = greatest(c.term, held.term) + 1
  returning c.term into take_lease.term;
  take_lease.term := coalesce(take_lease.term, held.term + 1);
  update rowcast.lease l set holder = gen_random_uuid(), term = take_lease.term, name = my_name,
    until = clock_timestamp() + rowcast.lease_time(), pid = pg_backend_pid(), backend_start = mine
  returning l.holder into take_lease.holder;
end $$;

-- Sessions that hold or want the doorbell's lock for themselves, and are not the leader's.
create function rowcast.doorbell_holders(out pid integer, out role name, out application text)
returns setof record language sql stable
set search_path = pg_catalog, pg_temp as $$
  select l.pid, a.usename, a.application_name
  from pg_locks l
  join pg_database d on d.oid = l.database and d.datname = current_database()
  join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.classid = rowcast.lock_class()
    and l.objid = rowcast.doorbell_lock() and l.objsubid = 2 and l.mode = 'ExclusiveLock'
    and l.pid is distinct from (select h.pid from rowcast.lease h)
$$;

-- Says that the holder lives. Sees to it that nobody rings while others hold the doorbell's lock,
-- or wait for it. Returns null where the lease is another's now, else whether it is quiet.
create function rowcast.renew_lease(me uuid) returns boolean language sql security definer
set search_path = pg_catalog, pg_temp as $$
  select rowcast.check_leader();
  update rowcast.lease l set until = clock_timestamp() + rowcast.lease_time(),
    quiet_until = case when exists (select from rowcast.doorbell_holders())
      then clock_timestamp() + interval '30 s' else l.quiet_until end
  where l.holder = me
  returning l.quiet_until > clock_timestamp()
$$;

-- Lets another relay follow at once.
create function rowcast.release_lease(me uuid) returns void language sql security definer
set search_path = pg_catalog, pg_temp as $$
  select rowcast.check_leader();
  update rowcast.lease set until = '-infinity' where holder = me;
$$;

-- Notifies a relay that sleeps. For those who found the doorbell's lock taken.
create function rowcast.ring(channel text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from rowcast.lease where quiet_until > clock_timestamp()) then
    perform pg_notify(channel, '');
  end if;
end $$;

-- Where logical replication brings tables here "for all tables" (blue/green deployments, upgrades),
-- this database's own triggers append to its own log: the log and the records of the other one are
-- left out, which would meet the same ids here. A worker that applies them has no query of its own;
-- a row that comes from there is written at depth 1, and one that our capture function appends at
-- depth 2.
create function rowcast.not_from_elsewhere() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  if pg_trigger_depth() = 1 and current_query() is null then return null; end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
create function rowcast.keep_apart(target regclass) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create trigger keep_apart before insert or update or delete on %s'
    ' for each row execute function rowcast.not_from_elsewhere()', target);
  execute format('alter table %s enable replica trigger keep_apart', target);
end $$;
select rowcast.keep_apart(t)
from unnest('{rowcast.event,rowcast.disconnected,rowcast.membership,rowcast.membership_commit,
  rowcast.cursor,rowcast.installation}'::regclass[]) t;
select rowcast.make_private(t) from to_regclass('rowcast.migrations') t where t is not null;
select rowcast.make_private(t) from unnest(
  '{rowcast.event,rowcast.disconnected,rowcast.membership,rowcast.membership_commit,rowcast.cursor,
  rowcast.installation,rowcast.lease}'::regclass[]) t;
select rowcast.keep_apart(t) from to_regclass('rowcast.migrations') t where t is not null;

-- Voids the cursors of all clients: those that are connected, and those that come back, hear
-- `recovered: false` and fetch again. The log stays, and what waits in it is delivered.
create function rowcast.refetch() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.void_cursors();
  perform pg_notify('rowcast_control', '');
end $$;

-- The work of refetch(), of which the relay that leads hears by itself or at its next commit.
create function rowcast.void_cursors() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  update rowcast.installation
  set id = gen_random_uuid(), timeline = rowcast.timeline(), refetch_before = null;
  -- Nobody has been served in the new installation: the relay replays to everybody from where the
  -- cursor is.
  update rowcast.cursor
  set installation = (select id from rowcast.installation), served_until = 'epoch',
    served_snapshot = snapshot, exceptions = '{}', updated_at = now();
end $$;

-- Signs the cursors of clients with a new key from now on. Those that clients have are good until
-- the next rotation.
create function rowcast.rotate_cursor_key() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  update rowcast.installation
  set former_cursor_key = cursor_key, cursor_key = rowcast.random_key();
  perform pg_notify('rowcast_control', '');
end $$;

-- Makes a copy of a database an installation of its own: what waits in its log is never delivered,
-- and clients of the original hear `recovered: false`. With keep_cursor (after pg_upgrade, which
-- changes the cluster and keeps the transactions) delivery goes on where it was.
create function rowcast.adopt(keep_cursor boolean default false) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  if keep_cursor then
    update rowcast.installation
    set identity = rowcast.database_identity(), timeline = rowcast.timeline();
    perform pg_notify('rowcast_control', '');
  else
    delete from rowcast.event;
    -- Their transactions are none of this cluster's.
    delete from rowcast.membership_commit;
    delete from rowcast.membership where left_id is not null;
    update rowcast.membership set joined_xid = pg_current_xact_id();
    update rowcast.installation set identity = rowcast.database_identity(), floor = '0';
    update rowcast.cursor
    set snapshot = pg_current_snapshot(), delivered = pg_current_snapshot(), until = null,
      after_id = null, through_id = null;
    perform rowcast.refetch();
  end if;
end $$;

-- A role that may remove events may have old calls removed, without a right on the table.
create function rowcast.forget_disconnected() returns void language sql security definer
set search_path = pg_catalog, pg_temp
as $$ delete from rowcast.disconnected where at < now() - interval '3 hours' $$;

-- Stays that no event of the log is from the time of, and commits that none is from before. Events
-- are removed in the order of their ids.
create function rowcast.forget_memberships() returns void language sql security definer
set search_path = pg_catalog, pg_temp as $$
  with oldest as (
    select coalesce((select min(e.id) from rowcast.event e), 9223372036854775807) as id
  ),
  old as (
    select c.xid from rowcast.membership_commit c, oldest where c.event_id < oldest.id
  ),
  gone as (delete from rowcast.membership m using old where m.left_xid = old.xid)
  delete from rowcast.membership_commit c using old where c.xid = old.xid
$$;

-- Removes rows that are older than `keep` and delivered, or older than `keep_undelivered` in any
-- case; at most `batch` rows a call, the oldest first. Writers never wait for it: it touches only
-- rows that nobody writes any more. A row that a wrong clock has stamped in the future counts as
-- old as the next row with a credible time. Otherwise it would keep the rows after it for years.
-- Rows that had not been delivered void the cursors of all clients, as refetch() does. Returns how
-- many were removed, how many of those had not been delivered, and the floor that this left.
create function rowcast.remove_old(
  keep interval, keep_undelivered interval, batch integer,
  out removed integer, out undelivered integer, out floor xid8
) language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  delivered pg_snapshot := (
    select c.delivered from rowcast.cursor c where c.consumer = 'relay');
begin
  with first as (
    select e.id, e.xid, e.occurred_at, e.occurred_at > now() + interval '1 minute' as ahead
    from rowcast.event e order by e.id limit batch
  ),
  -- No row is older than those before it.
  ordered as (
    select f.id, f.xid, f.ahead, max(f.occurred_at) filter (where not f.ahead)
      over (order by f.id rows unbounded preceding) as at
    from first f
  ),
  timed as (
    select o.id, o.xid, case when o.ahead then coalesce(
        min(o.at) filter (where not o.ahead)
          over (order by o.id rows between current row and unbounded following),
        (select e.occurred_at from rowcast.event e
          where e.id > (select max(l.id) from first l)
            and e.occurred_at <= now() + interval '1 minute'
          order by e.id limit 1),
        now()) else o.at end as at
    from ordered o
  ),
  old as (
    select t.id, t.xid, not pg_visible_in_snapshot(t.xid, delivered) as waits from timed t
    where t.at < now() - keep_undelivered
      or t.at < now() - keep and pg_visible_in_snapshot(t.xid, delivered)
  ),
  gone as (
    delete from rowcast.event e using old where e.id = old.id returning old.xid, old.waits
  ),
  highest as (
    select ((g.xid::text::numeric + 1)::text)::xid8 as xid from gone g order by g.xid desc limit 1
  ),
  moved as (
    update rowcast.installation i set floor = h.xid from highest h where i.floor < h.xid
  )
  select count(*), count(*) filter (where g.waits) into removed, undelivered from gone g;
  -- In this transaction, so that no crash keeps it from the clients.
  if undelivered > 0 then perform rowcast.void_cursors(); end if;
  perform rowcast.forget_disconnected();
  perform rowcast.forget_memberships();
  select i.floor into remove_old.floor from rowcast.installation i;
end $$;

-- Down Migration
-- Locks: the log's own tables only. Waits for writers that are just appending.
set local lock_timeout = '5s';
drop function rowcast.remove_old(interval, interval, integer);
drop function rowcast.forget_memberships();
drop function rowcast.forget_disconnected();
drop function rowcast.adopt(boolean);
drop function rowcast.rotate_cursor_key();
drop function rowcast.void_cursors();
drop function rowcast.refetch();
drop function rowcast.ring(text);
drop function rowcast.release_lease(uuid);
drop function rowcast.renew_lease(uuid);
drop function rowcast.take_lease(text);
drop function rowcast.check_leader();
drop function rowcast.doorbell_holders();
drop function rowcast.lease_time();
drop table rowcast.lease;
drop table rowcast.cursor;
drop table rowcast.membership_commit;
drop table rowcast.membership;
drop table rowcast.disconnected;
drop table rowcast.event;
drop function rowcast.max_message_bytes();
drop function rowcast.max_audience_bytes();
drop function rowcast.is_own_type(text);
drop function rowcast.database_identity();
drop function rowcast.timeline();
drop table rowcast.installation;
drop function rowcast.random_key();
drop function rowcast.doorbell_lock();
drop function rowcast.lock_class();
drop function rowcast.make_private(regclass);
do $$ begin
  if to_regclass('rowcast.migrations') is not null then
    drop trigger if exists keep_apart on rowcast.migrations;
  end if;
end $$;
drop function rowcast.keep_apart(regclass);
drop function rowcast.not_from_elsewhere();
-- The schema stays while it holds anything else (the record of migrations, a user's own table).
do $$ begin
  drop schema rowcast;
exception when dependent_objects_still_exist then null;
end $$;
