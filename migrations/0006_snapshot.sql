-- Up Migration
-- rowcast.snapshot(): what an application fetches and what the relay delivers, made one.
-- Locks: none.
-- Rights: a role with USAGE on schema rowcast may call snapshot(). It signs the place where the
-- caller is, and no other.

-- MAX_CURSOR_LENGTH - TAG_LENGTH of src/protocol/cursor.ts: API Gateway takes URLs of 4,096 bytes.
create function rowcast.max_place_length() returns integer language sql immutable as 'select 2974';

-- The place of a snapshot, as src/protocol/cursor.ts writes it. Equal gaps in a row are a run; the
-- first gap, from xmin, begins none.
create function rowcast.place(xmin bigint, xmax bigint, xip bigint[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  with gaps as (
    select n, xid - coalesce(lag(xid) over (order by n), xmin) as gap
    from unnest(xip) with ordinality x (xid, n)
  ),
  runs as (
    select min(n) as n, gap, count(*) as times from (
      select n, gap, n - row_number() over (partition by gap, n > 1 order by n) as run from gaps
    ) g group by gap, run, n > 1
  )
  select xmin || case when xmax > xmin then '-' || xmax - xmin else '' end || coalesce(
    (select string_agg(case when times >= 3 then format('-0-%s-%s', times, gap)
      else repeat('-' || gap, times::int) end, '' order by n) from runs), '')
$$;

-- A key of HMAC (RFC 2104), padded: of 64 bytes.
create function rowcast.padded(key bytea, pad integer) returns bytea
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select string_agg(set_byte('\x00', 0,
    pad # case when n < length(key) then get_byte(key, n) else 0 end), '' order by n)
  from generate_series(0, 63) n
$$;

-- Transactions among the given that are over and have written no event. Volatile, so that it looks
-- at the log anew once it has seen that they are over: a caller's older snapshot may not see their
-- events.
create function rowcast.without_events(xids bigint[]) returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  past bigint[] := array(
    select x from unnest(xids) x where pg_xact_status(x::text::xid8) <> 'in progress');
begin
  return array(select x from unnest(past) x
    where not exists (select from rowcast.event e where e.xid = x::text::xid8));
end $$;

-- A standby knows the transactions in flight and does not tell: its snapshots name none. Those that
-- its snapshot does not see have no event in its copy of the log. Null where there are too many to
-- look at.
create function rowcast.unseen_on_standby(xmin bigint, xmax bigint) returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  candidates bigint[];
  others bigint[] := '{}';
begin
  if xmax - xmin > 20000 then return null; end if;
  candidates := array(select n from generate_series(xmin, xmax - 1) n
    where not exists (select from rowcast.event e where e.xid = n::text::xid8));
  -- Only there does without_events() look anew.
  if current_setting('transaction_isolation') = 'read committed' then
    others := rowcast.without_events(candidates);
  end if;
  return array(select n from unnest(candidates) n where n <> all (others) order by n);
end $$;

-- A cursor of the statement's own snapshot: a client that connects with it, or a list that was
-- fetched by the same statement, goes on exactly there.
--     select coalesce(json_agg(m), '[]') as rows, rowcast.snapshot() as cursor from messages m
-- Stable, so that the snapshot is that statement's. What the calling transaction itself has written
-- counts as in flight, because it may write more: it comes again. On a standby that lags too much,
-- or with more in flight than a URL holds: a cursor that names no place.
create function rowcast.snapshot() returns text language plpgsql stable security definer
set search_path = pg_catalog, pg_temp as $$
declare
  seen pg_snapshot := pg_current_snapshot();
  xmin bigint := pg_snapshot_xmin(seen)::text;
  xmax bigint := pg_snapshot_xmax(seen)::text;
  xip bigint[];
  own bigint;
  key bytea;
  tag text;
  mac text;
  text_of_place text;
begin
  select i.cursor_key, left(i.id::text, 8) into key, tag from rowcast.installation i;
  if pg_is_in_recovery() then
    xip := rowcast.unseen_on_standby(xmin, xmax);
    if xip is null then return '0.' || tag; end if;
  else
    own := pg_current_xact_id_if_assigned()::text;
    xip := array(
      select x::text::bigint from pg_snapshot_xip(seen) x
      union select own where own < xmax
      order by 1);
  end if;
  text_of_place := rowcast.place(xmin, xmax, xip);
  if length(text_of_place) > rowcast.max_place_length() then return '0.' || tag; end if;
  mac := encode(substr(sha256(rowcast.padded(key, 92) || sha256(
    rowcast.padded(key, 54) || convert_to(text_of_place || '.' || tag, 'UTF8'))), 1, 12), 'base64');
  return text_of_place || '~' || translate(mac, '+/', '-_') || '.' || tag;
end $$;

comment on function rowcast.snapshot() is
  'A cursor of the statement''s snapshot, for a list that is fetched by the same statement.';

-- Down Migration
drop function rowcast.snapshot();
drop function rowcast.unseen_on_standby(bigint, bigint);
drop function rowcast.without_events(bigint[]);
drop function rowcast.padded(bytea, integer);
drop function rowcast.place(bigint, bigint, bigint[]);
drop function rowcast.max_place_length();
