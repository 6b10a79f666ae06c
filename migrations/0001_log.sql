-- Up Migration
-- The log, the relay's cursor and the identity of this installation.
-- Locks: none that a user's statement could wait for; every object here is new.

do $$ begin
  if to_regclass('rowcast.event') is not null then
    raise exception 'Rowcast is already installed in this database'
      using hint = 'Its migrations are recorded in rowcast.migrations: run `rowcast migrate up`, or `npx node-pg-migrate up --migrations-schema rowcast --migrations-table migrations`.';
  end if;
end $$;

create schema if not exists rowcast;
comment on schema rowcast is 'Rowcast: relays committed rows to WebSocket clients.';

-- One row. A cursor token names it, so that a token of another installation is told apart.
create table rowcast.installation (
  only_row boolean primary key default true check (only_row),
  id uuid not null default gen_random_uuid(),
  installed_at timestamptz not null default now()
);
insert into rowcast.installation default values;

-- The log. A writer appends in its own transaction and touches nothing else.
-- xid is the writer's top-level transaction: a row's own xmin would be that of a savepoint.
-- key is filled only for rows that may be too large for a frame, so that the frame can name them.
create table rowcast.event (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  occurred_at timestamptz not null default clock_timestamp(),
  type text not null,
  audience text[] not null,
  data json,
  old json,
  source text,
  key json
);
create index event_xid_idx on rowcast.event (xid);
comment on table rowcast.event is 'The log: what was committed, in the order of id within a window.';

-- The relay's place in the log. All that `snapshot` sees was delivered. While a backlog is
-- delivered page by page, `until` is the end of its window, and of that window everything up to
-- after_id was delivered; through_id is its last row.
-- served_until and served_xmin: every connection made before that instant has had its replay; the
-- relay that takes over replays to the younger ones, from served_xmin. served_connections are younger
-- ones that have had theirs too: a relay that stops cleanly names them, so that they get nothing twice.
create table rowcast.cursor (
  consumer text primary key,
  snapshot pg_snapshot not null,
  until pg_snapshot,
  after_id bigint,
  through_id bigint,
  served_until timestamptz not null default now(),
  served_xmin xid8 not null default pg_snapshot_xmin(pg_current_snapshot()),
  served_connections text[] not null default '{}',
  updated_at timestamptz not null default now(),
  check ((until is null) = (after_id is null) and (until is null) = (through_id is null))
) with (fillfactor = 50);
insert into rowcast.cursor (consumer, snapshot) values ('relay', pg_current_snapshot());

-- Down Migration
-- Locks: the log's own tables only. Waits for writers that are just appending.
set local lock_timeout = '5s';
drop table rowcast.cursor;
drop table rowcast.event;
drop table rowcast.installation;
-- The schema stays while it holds anything else (the record of migrations, a user's own table).
do $$ begin
  drop schema rowcast;
exception when dependent_objects_still_exist then null;
end $$;
