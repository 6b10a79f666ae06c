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

create table rowcast.capture (
  target regclass not null,
  name text not null,
  entity text not null,
  audience text[] not null,
  columns text[],
  operations text[] not null,
  include_old boolean not null,
  channel text not null,
  function text not null,
  shape jsonb not null,
  granted boolean not null,
  watched_at timestamp with time zone default now() not null
);

create table rowcast.cursor (
  consumer text not null,
  installation uuid not null,
  snapshot pg_snapshot not null,
  until pg_snapshot,
  after_id bigint,
  through_id bigint,
  delivered pg_snapshot default pg_current_snapshot() not null,
  exceptions json default '{}'::json not null,
  commits bigint default 0 not null,
  term bigint default 0 not null,
  served_until timestamp with time zone default '1970-01-01 00:00:00+00'::timestamp with time zone not null,
  served_snapshot pg_snapshot default pg_current_snapshot() not null,
  updated_at timestamp with time zone default now() not null
) with (fillfactor=50);

create table rowcast.disconnected (
  event_id bigint not null,
  xid xid8 default pg_current_xact_id() not null,
  at timestamp with time zone default clock_timestamp() not null,
  term text not null,
  reason json
);

create table rowcast.event (
  id bigint generated always as identity not null,
  xid xid8 default pg_current_xact_id() not null,
  occurred_at timestamp with time zone default clock_timestamp() not null,
  type text not null,
  audience text[] not null,
  data json,
  old json,
  source text,
  key json,
  problem text
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.02);

create table rowcast.installation (
  only_row boolean default true not null,
  id uuid default gen_random_uuid() not null,
  identity text not null,
  timeline integer not null,
  floor xid8 default '0'::xid8 not null,
  cursor_key bytea default rowcast.random_key() not null,
  former_cursor_key bytea,
  refetch_before timestamp with time zone,
  installed_at timestamp with time zone default now() not null
);

create table rowcast.lease (
  only_row boolean default true not null,
  holder uuid not null,
  term bigint not null,
  until timestamp with time zone not null,
  name text not null,
  pid integer not null,
  backend_start timestamp with time zone,
  quiet_until timestamp with time zone default '-infinity'::timestamp with time zone not null,
  online_term bigint
) with (fillfactor=50);

create table rowcast.membership (
  source integer not null,
  user_id text not null,
  room text not null,
  rows integer not null,
  joined_id bigint not null,
  joined_xid xid8 default pg_current_xact_id() not null,
  left_id bigint,
  left_xid xid8
) with (fillfactor=80);

create table rowcast.membership_commit (
  xid xid8 default pg_current_xact_id() not null,
  snapshot pg_snapshot default pg_current_snapshot() not null,
  event_id bigint
);

create table rowcast.online (
  user_id text not null,
  rooms text[] not null,
  connections integer not null,
  info json,
  since timestamp with time zone default clock_timestamp() not null
) with (fillfactor=70);

create table rowcast.presence_watch (
  term text not null
);

create table rowcast.room_source (
  source integer generated always as identity not null,
  target regclass not null,
  name text not null,
  user_id text not null,
  room text not null,
  problem text
);

alter table complaints add constraint complaints_pkey PRIMARY KEY (id);

alter table messages add constraint messages_pkey PRIMARY KEY (id);

alter table rowcast.capture add constraint capture_pkey PRIMARY KEY (target);

alter table rowcast.cursor add constraint cursor_check CHECK ((((until IS NULL) = (after_id IS NULL)) AND ((until IS NULL) = (through_id IS NULL))));

alter table rowcast.cursor add constraint cursor_pkey PRIMARY KEY (consumer);

alter table rowcast.disconnected add constraint disconnected_pkey PRIMARY KEY (event_id);

alter table rowcast.event add constraint event_pkey PRIMARY KEY (id);

alter table rowcast.installation add constraint installation_only_row_check CHECK (only_row);

alter table rowcast.installation add constraint installation_pkey PRIMARY KEY (only_row);

alter table rowcast.lease add constraint lease_only_row_check CHECK (only_row);

alter table rowcast.lease add constraint lease_pkey PRIMARY KEY (only_row);

alter table rowcast.membership_commit add constraint commit_memberships TRIGGER DEFERRABLE INITIALLY DEFERRED;

alter table rowcast.membership_commit add constraint membership_commit_pkey PRIMARY KEY (xid);

alter table rowcast.online add constraint online_pkey PRIMARY KEY (user_id);

alter table rowcast.presence_watch add constraint presence_watch_pkey PRIMARY KEY (term);

alter table rowcast.room_source add constraint room_source_pkey PRIMARY KEY (source);

alter table rowcast.room_source add constraint room_source_target_key UNIQUE (target);

CREATE INDEX disconnected_at_idx ON rowcast.disconnected USING btree (at);

CREATE INDEX event_problem_idx ON rowcast.event USING btree (source, id) WHERE (problem IS NOT NULL);

CREATE INDEX event_xid_idx ON rowcast.event USING btree (xid, id);

CREATE INDEX membership_joined_idx ON rowcast.membership USING btree (joined_xid);

CREATE INDEX membership_left_idx ON rowcast.membership USING btree (left_xid) WHERE (left_xid IS NOT NULL);

CREATE UNIQUE INDEX membership_now_idx ON rowcast.membership USING btree (source, user_id, room) WHERE (left_id IS NULL);

CREATE INDEX membership_user_idx ON rowcast.membership USING btree (user_id);

CREATE INDEX online_rooms ON rowcast.online USING gin (rooms);

CREATE UNIQUE INDEX room_source_target_key ON rowcast.room_source USING btree (target);

CREATE OR REPLACE FUNCTION rowcast.adopt(keep_cursor boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.append(type text, data json, audience text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  event_id bigint;
begin
  insert into rowcast.event (type, audience, data) values (type, audience, data)
  returning id into event_id;
  if not pg_try_advisory_xact_lock_shared(rowcast.lock_class(), rowcast.doorbell_lock()) then
    perform rowcast.ring('rowcast_send');
  end if;
  return event_id;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.append_1(text, text[], json, json, json, text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if pg_column_size($2) > 65536 then
    insert into rowcast.event (type, audience, source, problem)
    values ('UPDATE' || '_MESSAGE', '{}', 'public.messages', 'its audience is too large');
  else
    insert into rowcast.event (type, audience, data, old, source, key, problem)
    values (
      case $1
        when 'INSERT' then 'NEW' when 'UPDATE' then 'UPDATE' when 'DELETE' then 'DELETE'
        else 'TRUNCATE' end || '_MESSAGE',
      case when $2 = '{}' then $2 else '{all}'::text[] end,
      case when pg_column_size($3) <= 131072 then $3 end,
      case when pg_column_size($4) <= 131072 then $4 end,
      'public.messages',
      case when pg_column_size($5) <= 1000 then $5 end,
      left($6, 500));
  end if;
  if not pg_try_advisory_xact_lock_shared(1919907683, 1) then
    perform rowcast.ring('rowcast_messages');
  end if;
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.append_2(text, text[], json, json, json, text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if pg_column_size($2) > 65536 then
    insert into rowcast.event (type, audience, source, problem)
    values ('UPDATE' || '_COMPLAINT', '{}', 'public.complaints', 'its audience is too large');
  else
    insert into rowcast.event (type, audience, data, old, source, key, problem)
    values (
      case $1
        when 'INSERT' then 'NEW' when 'UPDATE' then 'UPDATE' when 'DELETE' then 'DELETE'
        else 'TRUNCATE' end || '_COMPLAINT',
      case when $2 = '{}' then $2 else '{all}'::text[] end,
      case when pg_column_size($3) <= 131072 then $3 end,
      case when pg_column_size($4) <= 131072 then $4 end,
      'public.complaints',
      case when pg_column_size($5) <= 1000 then $5 end,
      left($6, 500));
  end if;
  if not pg_try_advisory_xact_lock_shared(1919907683, 1) then
    perform rowcast.ring('rowcast_complaints');
  end if;
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.append_body(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.fill(rowcast.append_template(), jsonb_build_object(
    'audience_bytes', rowcast.max_audience_bytes(),
    'audience', case when rowcast.audience_columns(w.audience) = '{}'
      then format('case when $2 = ''{}'' then $2 else %L::text[] end', w.audience) else '$2' end,
    'suffix', quote_literal('_' || w.entity),
    'source', quote_literal(n.nspname || '.' || c.relname),
    'message_bytes', rowcast.max_message_bytes(),
    'small_bytes', rowcast.max_small_bytes(),
    'lock_class', rowcast.lock_class(),
    'doorbell', rowcast.doorbell_lock(),
    'channel', quote_literal(w.channel)))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = w.target
$function$
;

CREATE OR REPLACE FUNCTION rowcast.append_name(function text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select replace(function, 'capture', 'append') $function$
;

CREATE OR REPLACE FUNCTION rowcast.append_template()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select $body$
begin
  if pg_column_size($2) > {{audience_bytes}} then
    insert into rowcast.event (type, audience, source, problem)
    values ('UPDATE' || {{suffix}}, '{}', {{source}}, 'its audience is too large');
  else
    insert into rowcast.event (type, audience, data, old, source, key, problem)
    values (
      case $1
        when 'INSERT' then 'NEW' when 'UPDATE' then 'UPDATE' when 'DELETE' then 'DELETE'
        else 'TRUNCATE' end || {{suffix}},
      {{audience}},
      case when pg_column_size($3) <= {{message_bytes}} then $3 end,
      case when pg_column_size($4) <= {{message_bytes}} then $4 end,
      {{source}},
      case when pg_column_size($5) <= {{small_bytes}} then $5 end,
      left($6, 500));
  end if;
  if not pg_try_advisory_xact_lock_shared({{lock_class}}, {{doorbell}}) then
    perform rowcast.ring({{channel}});
  end if;
  return null;
end $body$
$function$
;

CREATE OR REPLACE FUNCTION rowcast.are_own(types oid[], owner oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select not exists (
    select from pg_type t join pg_roles r on r.oid = t.typowner
    where t.oid = any (types) and t.typtype <> 'd' and r.oid <> owner and not r.rolsuper
    union all
    select from pg_cast c join pg_proc p on p.oid = c.castfunc
      join pg_roles r on r.oid = p.proowner
    where c.castsource = any (types) and c.casttarget = 'json'::regtype
      and r.oid <> owner and not r.rolsuper)
$function$
;

CREATE OR REPLACE FUNCTION rowcast.as_watch(s rowcast.room_source)
 RETURNS rowcast.capture
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  w rowcast.capture;
begin
  w.target := s.target;
  w.audience := array[format('user:<%s>', s.user_id), 'room:' || s.room];
  w.shape := rowcast.shape_of(s.target);
  return w;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_bytes(audience text[])
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  -- The head of an array, and of each of its texts with what aligns it.
  select 24 + coalesce(sum(8 + case when term ~ '<' then 2 * (rowcast.max_term_bytes() + 8)
    else octet_length(term) end), 0)
  from unnest(audience) term
$function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_columns(audience text[])
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select coalesce(array_agg(distinct m[1]), '{}')
  from unnest(audience) t, regexp_matches(t, '<([^<>]+)>', 'g') m
$function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_is_virtual(w rowcast.capture)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select exists (select from pg_attribute a
    where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
      and a.attname = any (rowcast.audience_columns(w.audience)))
$function$
;

CREATE OR REPLACE FUNCTION rowcast.audience_sql(w rowcast.capture, record text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  term text;
  filled text;
  named text;
  terms text[] := '{}';
begin
  if rowcast.audience_columns(w.audience) = '{}' then
    return quote_literal(w.audience) || '::text[]';
  end if;
  foreach term in array w.audience loop
    if rowcast.audience_columns(array[term]) = '{}' then
      terms := terms || quote_literal(term);
      continue;
    end if;
    select string_agg(case
      when part[1] is null then quote_literal(part[2])
      else rowcast.text_sql(record, part[1], w.shape) end, ' || ' order by place)
    into filled
    from regexp_matches(term, '<([^<>]+)>|([^<>]+)', 'g') with ordinality m (part, place);
    select string_agg(format('%s.%I', record, c), ', ') into named
    from unnest(rowcast.audience_columns(array[term])) c;
    terms := terms || format(
      'case when num_nulls(%2$s) = 0 and octet_length(%1$s) <= %3$s then %1$s end',
      filled, named, rowcast.max_term_bytes());
  end loop;
  return 'array_remove(array[' || array_to_string(terms, ', ') || ']::text[], null)';
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.base_of(type oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when t.typtype = 'd' then rowcast.base_of(t.typbasetype)
    when t.oid >= 16384 and t.typelem <> 0 then rowcast.base_of(t.typelem) || '[]'
    else format('%I.%I', n.nspname, t.typname) end
  from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = type
$function$
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
 SET quote_all_identifiers TO 'off'
AS $function$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := '{all}';
  bytes integer := 0; problem text; exact boolean := true; discarded boolean := false;
  appended text;
begin
  for attempt in 1..3 loop
    exit when tg_op = 'TRUNCATE';
    begin
      if exact then exact := num_nulls(has_column_privilege(tg_relid, 8::int2, 'select'), has_column_privilege(tg_relid, 10::int2, 'select'), has_column_privilege(tg_relid, 11::int2, 'select'), has_column_privilege(tg_relid, 9::int2, 'select')) = 4; end if;
      if tg_op = 'UPDATE' and not (old *<> new) then return null; end if;
      if tg_op = 'DELETE' then
        if exact then image := case when pg_column_size(old) <= 262144 then row_to_json(row(rowcast.exactly(old.id, null::pg_catalog.int8), rowcast.exactly(old.sender, null::pg_catalog.text), rowcast.exactly(old.recipient, null::pg_catalog.text), rowcast.exactly(old.content, null::pg_catalog.text), rowcast.exactly(old.status, null::pg_catalog.text), rowcast.exactly(old.created_at, null::pg_catalog.timestamptz), rowcast.exactly(old.updated_at, null::pg_catalog.timestamptz))::rowcast.row_1) end; else image := case when pg_column_size(old) <= 262144 then rowcast.json_of(tg_relid, NULL::text[], old) end; end if;
      else
        if exact then image := case when pg_column_size(new) <= 262144 then row_to_json(row(rowcast.exactly(new.id, null::pg_catalog.int8), rowcast.exactly(new.sender, null::pg_catalog.text), rowcast.exactly(new.recipient, null::pg_catalog.text), rowcast.exactly(new.content, null::pg_catalog.text), rowcast.exactly(new.status, null::pg_catalog.text), rowcast.exactly(new.created_at, null::pg_catalog.timestamptz), rowcast.exactly(new.updated_at, null::pg_catalog.timestamptz))::rowcast.row_1) end; else image := case when pg_column_size(new) <= 262144 then rowcast.json_of(tg_relid, NULL::text[], new) end; end if;
        if tg_op = 'UPDATE' then if exact then if row(old.id)::record *<> row(new.id)::record then previous := (select row_to_json(r.*) from (select rowcast.exactly(old.id, null::pg_catalog.int8) as id) r); end if; else previous := rowcast.former_key(tg_relid, NULL, old, new); end if; end if;
      end if;
      problem := null;
    exception when others or assert_failure then
      problem := sqlstate || ': ' || sqlerrm;
      image := null; previous := null;
      if not discarded and sqlstate in ('42804', '0A000', 'XX000') then
        discarded := true;
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
      if exact and sqlstate ~ '^(42|3F|XX)' then
        exact := false;
        continue;
      end if;
      if sqlstate = '42703' and exists (
        select from unnest('{}'::text[]) named (name)
        where not exists (select from pg_attribute a
          where a.attrelid = tg_relid and a.attname = named.name and not a.attisdropped)) then
        raise warning 'rowcast: a column that % is watched by was renamed or dropped; '
          'call rowcast.watch() with its new name and the other arguments', tg_relid::regclass;
        reach := '{}';
      else
        raise warning 'rowcast: a row of % is sent as its key, because making JSON of it failed: %',
          tg_relid::regclass, sqlerrm;
      end if;
    end;
    bytes := coalesce(pg_column_size(image), 1000000000);
    exit;
  end loop;
  if bytes > 1000 then
    for attempt in 1..2 loop
      begin
        if attempt = 1 and exact then
          if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select rowcast.exactly(old.id, null::pg_catalog.int8) as id) r); else identity := (select row_to_json(r.*) from (select rowcast.exactly(new.id, null::pg_catalog.int8) as id) r); end if;
        elsif tg_op = 'DELETE' then identity := rowcast.json_of(tg_relid, '{id}'::text[], old);
        else identity := rowcast.json_of(tg_relid, '{id}'::text[], new);
        end if;
        if pg_column_size(identity) > 1000 then identity := 'null'; end if;
        exit;
      exception when others or assert_failure then
        identity := 'null';
      end;
    end loop;
    if bytes > 131072 then image := null; previous := null; end if;
  end if;
  -- A simple expression: a third of what PERFORM costs.
  appended := rowcast.append_1(tg_op, reach, image, previous, identity, left(problem, 500));
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
 SET quote_all_identifiers TO 'off'
AS $function$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := '{all}';
  bytes integer := 0; problem text; exact boolean := true; discarded boolean := false;
  appended text;
begin
  for attempt in 1..3 loop
    exit when tg_op = 'TRUNCATE';
    begin
      if exact then exact := num_nulls(has_column_privilege(tg_relid, 8::int2, 'select'), has_column_privilege(tg_relid, 10::int2, 'select'), has_column_privilege(tg_relid, 11::int2, 'select'), has_column_privilege(tg_relid, 9::int2, 'select')) = 4; end if;
      if tg_op = 'UPDATE' and not (old *<> new) then return null; end if;
      if tg_op = 'DELETE' then
        if exact then image := case when pg_column_size(old) <= 262144 then row_to_json(row(rowcast.exactly(old.id, null::pg_catalog.int8), rowcast.exactly(old.title, null::pg_catalog.text), rowcast.exactly(old.details, null::pg_catalog.text), rowcast.exactly(old.status, null::pg_catalog.text), rowcast.exactly(old.reporter, null::pg_catalog.text), rowcast.exactly(old.created_at, null::pg_catalog.timestamptz), rowcast.exactly(old.updated_at, null::pg_catalog.timestamptz))::rowcast.row_2) end; else image := case when pg_column_size(old) <= 262144 then rowcast.json_of(tg_relid, NULL::text[], old) end; end if;
      else
        if exact then image := case when pg_column_size(new) <= 262144 then row_to_json(row(rowcast.exactly(new.id, null::pg_catalog.int8), rowcast.exactly(new.title, null::pg_catalog.text), rowcast.exactly(new.details, null::pg_catalog.text), rowcast.exactly(new.status, null::pg_catalog.text), rowcast.exactly(new.reporter, null::pg_catalog.text), rowcast.exactly(new.created_at, null::pg_catalog.timestamptz), rowcast.exactly(new.updated_at, null::pg_catalog.timestamptz))::rowcast.row_2) end; else image := case when pg_column_size(new) <= 262144 then rowcast.json_of(tg_relid, NULL::text[], new) end; end if;
        if tg_op = 'UPDATE' then if exact then if row(old.id)::record *<> row(new.id)::record then previous := (select row_to_json(r.*) from (select rowcast.exactly(old.id, null::pg_catalog.int8) as id) r); end if; else previous := rowcast.former_key(tg_relid, NULL, old, new); end if; end if;
      end if;
      problem := null;
    exception when others or assert_failure then
      problem := sqlstate || ': ' || sqlerrm;
      image := null; previous := null;
      if not discarded and sqlstate in ('42804', '0A000', 'XX000') then
        discarded := true;
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
      if exact and sqlstate ~ '^(42|3F|XX)' then
        exact := false;
        continue;
      end if;
      if sqlstate = '42703' and exists (
        select from unnest('{}'::text[]) named (name)
        where not exists (select from pg_attribute a
          where a.attrelid = tg_relid and a.attname = named.name and not a.attisdropped)) then
        raise warning 'rowcast: a column that % is watched by was renamed or dropped; '
          'call rowcast.watch() with its new name and the other arguments', tg_relid::regclass;
        reach := '{}';
      else
        raise warning 'rowcast: a row of % is sent as its key, because making JSON of it failed: %',
          tg_relid::regclass, sqlerrm;
      end if;
    end;
    bytes := coalesce(pg_column_size(image), 1000000000);
    exit;
  end loop;
  if bytes > 1000 then
    for attempt in 1..2 loop
      begin
        if attempt = 1 and exact then
          if tg_op = 'DELETE' then identity := (select row_to_json(r.*) from (select rowcast.exactly(old.id, null::pg_catalog.int8) as id) r); else identity := (select row_to_json(r.*) from (select rowcast.exactly(new.id, null::pg_catalog.int8) as id) r); end if;
        elsif tg_op = 'DELETE' then identity := rowcast.json_of(tg_relid, '{id}'::text[], old);
        else identity := rowcast.json_of(tg_relid, '{id}'::text[], new);
        end if;
        if pg_column_size(identity) > 1000 then identity := 'null'; end if;
        exit;
      exception when others or assert_failure then
        identity := 'null';
      end;
    end loop;
    if bytes > 131072 then image := null; previous := null; end if;
  end if;
  -- A simple expression: a third of what PERFORM costs.
  appended := rowcast.append_2(tg_op, reach, image, previous, identity, left(problem, 500));
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.capture_body(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.fill(rowcast.capture_template(), jsonb_build_object(
    -- A TRUNCATE has no row to take an audience from: everybody who may have seen one hears of it.
    'audience', quote_literal(case when a.dynamic then '{all}' else w.audience::text end),
    'compute', rowcast.compute_sql(w, a.dynamic),
    'columns', quote_nullable((w.columns || a.columns)::text),
    'previous_bytes', case when w.include_old then
      ' + case tg_op when ''INSERT'' then 0 else pg_column_size(previous) end' end,
    'small_bytes', rowcast.max_small_bytes(),
    'message_bytes', rowcast.max_message_bytes(),
    'exact', rowcast.is_exact(w),
    'old_key', rowcast.key_sql(w, 'old', true),
    'new_key', rowcast.key_sql(w, 'new', true),
    'old_key_now', rowcast.key_sql(w, 'old', false),
    'new_key_now', rowcast.key_sql(w, 'new', false),
    'append', quote_ident(rowcast.append_name(w.function))))
  from (select rowcast.audience_columns(w.audience) as columns,
    rowcast.audience_columns(w.audience) <> '{}' as dynamic) a
$function$
;

CREATE OR REPLACE FUNCTION rowcast.capture_template()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select $body$
#variable_conflict use_column
declare
  image json; previous json; identity json; reach text[] := {{audience}};
  bytes integer := 0; problem text; exact boolean := {{exact}}; discarded boolean := false;
  appended text;
begin
  for attempt in 1..3 loop
    exit when tg_op = 'TRUNCATE';
    begin{{compute}}
      problem := null;
    exception when others or assert_failure then
      problem := sqlstate || ': ' || sqlerrm;
      image := null; previous := null;
      if not discarded and sqlstate in ('42804', '0A000', 'XX000') then
        discarded := true;
        begin
          execute 'discard plans';
          continue;
        exception when others then null;
        end;
      end if;
      if exact and sqlstate ~ '^(42|3F|XX)' then
        exact := false;
        continue;
      end if;
      if sqlstate = '42703' and exists (
        select from unnest({{columns}}::text[]) named (name)
        where not exists (select from pg_attribute a
          where a.attrelid = tg_relid and a.attname = named.name and not a.attisdropped)) then
        raise warning 'rowcast: a column that % is watched by was renamed or dropped; '
          'call rowcast.watch() with its new name and the other arguments', tg_relid::regclass;
        reach := '{}';
      else
        raise warning 'rowcast: a row of % is sent as its key, because making JSON of it failed: %',
          tg_relid::regclass, sqlerrm;
      end if;
    end;
    bytes := coalesce(pg_column_size(image){{previous_bytes}}, 1000000000);
    exit;
  end loop;
  if bytes > {{small_bytes}} then
    for attempt in 1..2 loop
      begin
        if attempt = 1 and exact then
          if tg_op = 'DELETE' then identity := {{old_key}}; else identity := {{new_key}}; end if;
        elsif tg_op = 'DELETE' then identity := {{old_key_now}};
        else identity := {{new_key_now}};
        end if;
        if pg_column_size(identity) > {{small_bytes}} then identity := 'null'; end if;
        exit;
      exception when others or assert_failure then
        identity := 'null';
      end;
    end loop;
    if bytes > {{message_bytes}} then image := null; previous := null; end if;
  end if;
  -- A simple expression: a third of what PERFORM costs.
  appended := rowcast.{{append}}(tg_op, reach, image, previous, identity, left(problem, 500));
  return null;
end $body$
$function$
;

CREATE OR REPLACE FUNCTION rowcast.changed_sql(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when w.columns is null then 'old *<> new'
    else (
      select format('row(%s)::record *<> row(%s)::record',
        string_agg(format('old.%I', c), ', ' order by c),
        string_agg(format('new.%I', c), ', ' order by c))
      from (select distinct unnest(w.columns || rowcast.audience_columns(w.audience)) c) named)
  end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.channel_of(table_name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.shorten_name(case
    when table_name in ('control', 'send', 'heartbeat') then 'rowcast_table_' || table_name
    else 'rowcast_' || table_name end)
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
  terms constant text :=
    'all, user:ID, room:NAME, role:NAME or connection:ID; !user:ID and so on leave out.';
begin
  if coalesce(cardinality(audience), 0) = 0 then
    perform rowcast.refuse('audience is empty', 'Name at least one term: ' || terms);
  elsif array_ndims(audience) <> 1 then
    perform rowcast.refuse('audience is a list of lists', 'Write {user:1,role:admin}.');
  elsif cardinality(audience) > 1000 then
    perform rowcast.refuse(
      format('audience has %s terms', cardinality(audience)),
      'At most 1000; let the many join a room and address that.');
  elsif rowcast.audience_bytes(audience) > rowcast.max_audience_bytes() then
    perform rowcast.refuse(
      format('audience has %s bytes, or may have with the values of columns',
        rowcast.audience_bytes(audience)),
      format('At most %s; let the many join a room and address that.',
        rowcast.max_audience_bytes()));
  end if;
  foreach term in array audience loop
    if term is null or term !~ '^(all|!?(user|room|role|connection):.+)$' then
      perform rowcast.refuse(
        format('%s is not an audience term', quote_nullable(left(term, 100))),
        'A term is ' || terms);
    elsif octet_length(term) > rowcast.max_term_bytes() then
      perform rowcast.refuse(
        format('audience term %s... is longer than %s bytes',
          left(term, 40), rowcast.max_term_bytes()),
        'Use a shorter user id or room name.');
    elsif templates and regexp_replace(term, '<[^<>]+>', '', 'g') ~ '[<>]' then
      perform rowcast.refuse(
        format('audience term %s has an unpaired < or >', quote_literal(term)),
        'A column stands in angle brackets: user:<recipient_id>.');
    end if;
  end loop;
  if not exists (select from unnest(audience) t where t not like '!%') then
    perform rowcast.refuse(
      format('audience %s leaves out, and reaches nobody', left(audience::text, 100)),
      'Name who is reached as well: {all,!user:7}.');
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_caller(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_columns(w rowcast.capture)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_leader()
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if not exists (select from pg_roles r where pg_has_role(session_user, r.oid, 'member')
    and has_table_privilege(r.oid, 'rowcast.cursor', 'update')) then
    raise exception 'permission denied: role % may not lead', session_user
      using errcode = 'insufficient_privilege';
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_rooms(s rowcast.room_source)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_target(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.check_watch(w rowcast.capture)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.close_rooms(source integer, problem text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  update rowcast.room_source s set problem = left(close_rooms.problem, 500)
  where s.source = close_rooms.source and s.problem is null;
  if not found then return; end if;
  perform rowcast.empty_rooms(source);
  raise warning 'rowcast: nobody is in a room by % any more, because a row could not be read: %; '
    'call rowcast.rooms_from() again',
    (select s.name from rowcast.room_source s where s.source = close_rooms.source), problem;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.column_gone(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select c from unnest(w.columns || rowcast.audience_columns(w.audience)) c
  where not exists (select from pg_attribute a
    where a.attrelid = w.target and a.attname = c and not a.attisdropped)
  limit 1
$function$
;

CREATE OR REPLACE FUNCTION rowcast.column_sql(value text, way text, base text, OUT sql text, OUT type text)
 RETURNS record
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select
    case way
      when 'text' then format('case when num_nulls(%1$s) = 0 then format(''%%s'', %1$s) end', value)
      when 'list' then
        format('case when num_nulls(%1$s) = 0 then format(''%%s'', %1$s)::text[] end', value)
      else value end,
    case way when 'text' then 'pg_catalog.text' when 'list' then 'pg_catalog.text[]' else base end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.column_unseen(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.commit_memberships()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  update rowcast.membership_commit c
  set snapshot = pg_current_snapshot(), event_id = rowcast.append('MEMBERS', null, '{}')
  where c.xid = new.xid;
  return null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.compute_sql(w rowcast.capture, dynamic boolean)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select concat_ws(E'\n      ', '',
    case when rowcast.has_shape_sql(w) not in ('true', 'false') then
      format('if exact then exact := %s; end if;', rowcast.has_shape_sql(w)) end,
    -- Until the audience is known, nobody hears of it.
    case when dynamic then 'reach := ''{}'';' end,
    case when w.columns is null then v.unless_changed end,
    case when v.first then v.fill end,
    case when dynamic then format('if tg_op = ''DELETE'' then reach := %s;', v.old_audience) end,
    case when dynamic then format('else reach := %s; end if;', v.new_audience) end,
    -- An audience that loses sight of a row hears of it too.
    case when dynamic then 'if tg_op = ''UPDATE'' then' end,
    case when dynamic then format('  reach := %s;', v.either_audience) end,
    case when dynamic then 'end if;' end,
    case when not v.first then v.fill end,
    case when w.columns is not null then v.unless_changed end,
    'if tg_op = ''DELETE'' then',
    '  ' || rowcast.image_sql(w, 'image', 'old'),
    case when w.include_old then '  previous := image;' end,
    'else',
    '  ' || rowcast.image_sql(w, 'image', 'new'),
    case when w.include_old then
      format('  if tg_op = ''UPDATE'' then %s end if;', rowcast.image_sql(w, 'previous', 'old'))
      else '  ' || rowcast.former_key_sql(w) end,
    'end if;')
  from (select
    rowcast.audience_is_virtual(w) as first,
    rowcast.audience_sql(w, 'old') as old_audience,
    rowcast.audience_sql(w, 'new') as new_audience,
    -- Left out is whom both leave out.
    format(case when array_to_string(w.audience, ' ') ~ '(^| )!'
      then 'array(select distinct t from unnest(reach || %1$s) t '
        'where t not like ''!%%'' or t = any (reach) and t = any (%1$s))'
      else 'array(select distinct unnest(reach || %s))' end, rowcast.audience_sql(w, 'old'))
      as either_audience,
    format('if tg_op = ''UPDATE'' and not (%s) then return null; end if;', rowcast.changed_sql(w))
      as unless_changed,
    nullif(concat_ws(E'\n      ',
      'if tg_op <> ''DELETE'' then ' || rowcast.virtual_sql(w, 'new') || ' end if;',
      'if tg_op <> ''INSERT'' then ' || rowcast.virtual_sql(w, 'old') || ' end if;'), '') as fill) v
$function$
;

CREATE OR REPLACE FUNCTION rowcast.database_identity()
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select system_identifier || '/' || d.oid || '/' || 'rowcast.installation'::regclass::oid
  from pg_control_system(), pg_database d where d.datname = current_database()
$function$
;

CREATE OR REPLACE FUNCTION rowcast.disconnect(term text, reason text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  event_id bigint;
begin
  if octet_length(reason) > 200 then
    perform rowcast.refuse(
      format('reason has %s bytes', octet_length(reason)), 'At most 200, for people to read.');
  end if;
  perform rowcast.check_audience(array[term], false);
  event_id := rowcast.append('DISCONNECT', to_json(reason), array[term]);
  insert into rowcast.disconnected (event_id, at, term, reason)
  select e.id, e.occurred_at, term, e.data from rowcast.event e where e.id = event_id;
  return event_id;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.doorbell_holders(OUT pid integer, OUT role name, OUT application text)
 RETURNS SETOF record
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select l.pid, a.usename, a.application_name
  from pg_locks l
  join pg_database d on d.oid = l.database and d.datname = current_database()
  join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.classid = rowcast.lock_class()
    and l.objid = rowcast.doorbell_lock() and l.objsubid = 2 and l.mode = 'ExclusiveLock'
    and l.pid is distinct from (select h.pid from rowcast.lease h)
$function$
;

CREATE OR REPLACE FUNCTION rowcast.doorbell_lock()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 1$function$
;

CREATE OR REPLACE FUNCTION rowcast.drop_function(name text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
AS $function$
begin
  execute format('drop function if exists rowcast.%I()', name);
  execute format('drop function if exists rowcast.%I(text, text[], json, json, json, text)',
    rowcast.append_name(name));
  execute format('drop type if exists rowcast.%I', rowcast.row_type(name));
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.empty_rooms(source integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  place bigint;
begin
  if not exists (select from rowcast.membership m
    where m.source = empty_rooms.source and m.left_id is null) then return; end if;
  place := rowcast.place_of_change();
  update rowcast.membership m set rows = 0, left_id = place, left_xid = pg_current_xact_id()
  where m.source = empty_rooms.source and m.left_id is null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.exact_columns(w rowcast.capture, record text)
 RETURNS TABLE(place bigint, name text, sql text, type text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select u.place, u.name, s.sql, s.type
  from unnest(coalesce(w.columns, array(
    select c ->> 'name' from jsonb_array_elements(w.shape) c))) with ordinality u (name, place)
  left join jsonb_array_elements(w.shape) c on c ->> 'name' = u.name and c ->> 'way' <> 'owner'
  left join lateral rowcast.column_sql(
    format('rowcast.exactly(%s.%I, null::%s)', record, u.name, c ->> 'type'),
    c ->> 'way', c ->> 'base') s on c is not null
$function$
;

CREATE OR REPLACE FUNCTION rowcast.exact_sql(w rowcast.capture, record text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select format('row_to_json(row(%s)::rowcast.%I)',
    string_agg(c.sql, ', ' order by c.place), rowcast.row_type(w.function))
  from rowcast.exact_columns(w, record) c
$function$
;

CREATE OR REPLACE FUNCTION rowcast.exactly(value anyelement, type anyelement)
 RETURNS anyelement
 LANGUAGE sql
 IMMUTABLE
AS $function$select value$function$
;

CREATE OR REPLACE FUNCTION rowcast.fill(template text, slots jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select string_agg(part[1] || coalesce(slots ->> part[2], ''), '' order by place)
  from regexp_matches(template || '{{}}', '(.*?)\{\{(\w*)\}\}', 'g') with ordinality m (part, place)
$function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_disconnected()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ delete from rowcast.disconnected where at < now() - interval '3 hours' $function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_dropped()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  gone text;
begin
  for gone in
    delete from rowcast.capture c
    where not exists (select from pg_class r where r.oid = c.target)
      and (rowcast.named(c.name) is null or rowcast.is_watched(rowcast.named(c.name)))
    returning c.function
  loop
    perform rowcast.drop_function(gone);
  end loop;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_dropped_rooms()
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.forget_source(s) from rowcast.room_source s
  where not exists (select from pg_class c where c.oid = s.target)
$function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_memberships()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  with oldest as (
    select coalesce((select min(e.id) from rowcast.event e), 9223372036854775807) as id
  ),
  old as (
    select c.xid from rowcast.membership_commit c, oldest where c.event_id < oldest.id
  ),
  gone as (delete from rowcast.membership m using old where m.left_xid = old.xid)
  delete from rowcast.membership_commit c using old where c.xid = old.xid
$function$
;

CREATE OR REPLACE FUNCTION rowcast.forget_source(s rowcast.room_source)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
AS $function$
begin
  perform rowcast.empty_rooms(s.source);
  delete from rowcast.room_source k where k.source = s.source;
  execute format('drop function if exists rowcast.%I()', rowcast.rooms_function(s));
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.former_key(relation regclass, columns text[], former record, latter record)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  key text[] := rowcast.key_columns(relation, columns);
  before json := case when key <> '{}' then rowcast.json_of(relation, key, former) end;
begin
  return case when before::text <> rowcast.json_of(relation, key, latter)::text then before end;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.former_key_sql(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select 'if tg_op = ''UPDATE'' then ' || case when rowcast.is_exact(w) then (
      select format('if exact then if row(%s)::record *<> row(%s)::record then previous := %s; '
          'end if; else %s end if;',
        string_agg(format('old.%I', c), ', ' order by c),
        string_agg(format('new.%I', c), ', ' order by c),
        rowcast.key_sql(w, 'old', true), now.sql)
      from unnest(k.columns) c)
    else now.sql end || ' end if;'
  from (select rowcast.key_columns(w.target, w.columns) as columns) k
  cross join lateral (select format('previous := rowcast.former_key(tg_relid, %s, old, new);',
    quote_nullable(w.columns)) as sql) now
  where k.columns <> '{}'
$function$
;

CREATE OR REPLACE FUNCTION rowcast.give(function text, role text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  may boolean := has_schema_privilege(role::regrole, 'rowcast', 'create');
begin
  if (select proowner from pg_proc where oid = function::regprocedure) = role::regrole then
    return;
  end if;
  if not may then execute format('grant create on schema rowcast to %s', role); end if;
  execute format('alter function %s owner to %s', function, role);
  if not may then execute format('revoke create on schema rowcast from %s', role); end if;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.has_shape_sql(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when not rowcast.is_exact(w) then 'false'
    when w.columns is not null then 'true'
    when c.relkind = 'p' then format('(select count(*) from pg_attribute a where a.attrelid = '
      'tg_relid and a.attnum > 0 and not a.attisdropped) = %s', jsonb_array_length(w.shape))
    else (
      select format('num_nulls(%s) = %s', string_agg(
        format('has_column_privilege(tg_relid, %s::int2, ''select'')', n), ', '), count(*))
      from rowcast.next_numbers(w) n)
  end
  from pg_class c where c.oid = w.target
$function$
;

CREATE OR REPLACE FUNCTION rowcast.image_sql(w rowcast.capture, variable text, record text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select format(case when rowcast.is_exact(w)
      then 'if exact then %1$s := case when %2$s <= %3$s then %4$s end; else '
        '%1$s := case when %2$s <= %3$s then %5$s end; end if;'
      else '%1$s := case when %2$s <= %3$s then %5$s end;' end,
    variable,
    rowcast.stored_bytes_sql(w, record),
    rowcast.max_stored_bytes(),
    rowcast.exact_sql(w, record),
    format('rowcast.json_of(tg_relid, %s::text[], %s)', quote_nullable(w.columns), record))
$function$
;

CREATE OR REPLACE FUNCTION rowcast.impaired(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.install(w rowcast.capture)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.is_exact(w rowcast.capture)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select bool_and(c.sql is not null) from rowcast.exact_columns(w, 'new') c
$function$
;

CREATE OR REPLACE FUNCTION rowcast.is_online(user_id anynonarray)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$ select rowcast.is_online(user_id::text) $function$
;

CREATE OR REPLACE FUNCTION rowcast.is_online(user_id text)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select exists (select from rowcast.online o
      where o.user_id = rowcast.name_in('user:' || is_online.user_id))
    and rowcast.is_presence_known()
$function$
;

CREATE OR REPLACE FUNCTION rowcast.is_own_type(type text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$ select type in ('READY', 'BATCH', 'ERROR', 'PRESENCE', 'ROOMS', 'DISCONNECT', 'MEMBERS',
  'pong') $function$
;

CREATE OR REPLACE FUNCTION rowcast.is_presence_known()
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select exists (select from rowcast.lease l
    where l.online_term = l.term and l.until > clock_timestamp()
      and l.until <= clock_timestamp() + 2 * rowcast.lease_time())
$function$
;

CREATE OR REPLACE FUNCTION rowcast.is_watched(target regclass)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select exists (select from rowcast.capture c where c.target = is_watched.target)
$function$
;

CREATE OR REPLACE FUNCTION rowcast.join_room(source integer, user_id text, room text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.json_of(relation regclass, columns text[], record record)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  me oid := (select oid from pg_roles where rolname = current_user);
  gone text := (select c from unnest(columns) c where not exists (
    select from pg_attribute a
    where a.attrelid = relation and a.attname = c and not a.attisdropped) limit 1);
  types oid[] := array(select distinct rowcast.types_in(a.atttypid) from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384);
  query text;
  image json;
begin
  if gone is not null then
    raise exception 'column % is gone', gone using errcode = 'undefined_column';
  elsif columns is null and (types = '{}' or rowcast.are_own(types, me)) then
    return row_to_json(record);
  end if;
  select format('select row_to_json(r.*) from (select %s) r',
    string_agg(format('%s as %I', s.sql, a.attname), ', ' order by a.place, a.attnum))
  into query
  from (
    select a.attname, a.attnum, array_position(columns, a.attname::text) as place,
      rowcast.way_of(a.atttypid, me) as way, rowcast.base_of(a.atttypid) as base
    from pg_attribute a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
      and (columns is null or a.attname = any (columns))) a
  cross join lateral rowcast.column_sql(format('($1).%I', a.attname), a.way, a.base) s;
  execute query into image using record;
  return image;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.keep_apart(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  execute format('create trigger keep_apart before insert or update or delete on %s'
    ' for each row execute function rowcast.not_from_elsewhere()', target);
  execute format('alter table %s enable replica trigger keep_apart', target);
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.keep_watch(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.kept_watches()
 RETURNS TABLE(name text, entity text, audience text[], columns text[], operations text[], include_old boolean)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if to_regclass('rowcast.kept_watch') is null then return; end if;
  return query execute 'select k.name, k.entity, k.audience, k.columns, k.operations, k.include_old'
    ' from rowcast.kept_watch k where rowcast.named(k.name) is not null';
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.key_columns(relation regclass, columns text[])
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select coalesce(array_agg(a.attname::text order by k.place), '{}')
  from pg_index i
  cross join unnest(i.indkey::int2[]) with ordinality k (attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    and k.place <= i.indnkeyatts
  where i.indrelid = relation and i.indisprimary
    and (columns is null or a.attname = any (columns))
$function$
;

CREATE OR REPLACE FUNCTION rowcast.key_sql(w rowcast.capture, record text, exact boolean)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when k.columns = '{}' then '''null''::json'
    when not exact or not rowcast.is_exact(w)
      then format('rowcast.json_of(tg_relid, %L::text[], %s)', k.columns, record)
    else (
      select format('(select row_to_json(r.*) from (select %s) r)',
        string_agg(format('%s as %I', c.sql, c.name), ', ' order by u.place))
      from unnest(k.columns) with ordinality u (name, place)
      join rowcast.exact_columns(w, record) c on c.name = u.name)
  end
  from (select rowcast.key_columns(w.target, w.columns) as columns) k
$function$
;

CREATE OR REPLACE FUNCTION rowcast.lease_time()
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE
AS $function$ select interval '12 seconds' $function$
;

CREATE OR REPLACE FUNCTION rowcast.leave_room(source integer, user_id text, room text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  update rowcast.membership m
  set rows = m.rows - 1,
    left_id = case when m.rows <= 1 then rowcast.place_of_change() end,
    left_xid = case when m.rows <= 1 then pg_current_xact_id() end
  where m.source = leave_room.source and m.user_id = leave_room.user_id
    and m.room = leave_room.room and m.left_id is null;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.lock_class()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select x'726f7763'::int$function$
;

CREATE OR REPLACE FUNCTION rowcast.lock_target(target regclass, mode text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.lock_watches()
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$lock table rowcast.capture in share row exclusive mode$function$
;

CREATE OR REPLACE FUNCTION rowcast.make_functions(w rowcast.capture)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.make_private(relation regclass DEFAULT NULL::regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.make_rooms_triggers(s rowcast.room_source)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
 SET quote_all_identifiers TO 'off'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.make_triggers(w rowcast.capture)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.max_audience_bytes()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 65536$function$
;

CREATE OR REPLACE FUNCTION rowcast.max_message_bytes()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 131072$function$
;

CREATE OR REPLACE FUNCTION rowcast.max_place_length()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 2974$function$
;

CREATE OR REPLACE FUNCTION rowcast.max_small_bytes()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 1000$function$
;

CREATE OR REPLACE FUNCTION rowcast.max_stored_bytes()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 262144$function$
;

CREATE OR REPLACE FUNCTION rowcast.max_term_bytes()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
AS $function$select 200$function$
;

CREATE OR REPLACE FUNCTION rowcast.name_in(term text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when octet_length(term) = char_length(term) or getdatabaseencoding() <> 'UTF8'
      then substr(term, 6)
    else normalize(substr(term, 6), NFC) end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.name_of(target regclass)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select format('%I.%I', n.nspname, c.relname)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target
$function$
;

CREATE OR REPLACE FUNCTION rowcast.named(name text)
 RETURNS regclass
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select c.oid
  from parse_ident(name) part
  join pg_namespace n on n.nspname = part[1]
  join pg_class c on c.relnamespace = n.oid and c.relname = part[2]
  where c.relkind in ('r', 'p')
$function$
;

CREATE OR REPLACE FUNCTION rowcast.next_numbers(w rowcast.capture)
 RETURNS SETOF integer
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select max((c ->> 'number')::integer) + n
  from jsonb_array_elements(w.shape) c, generate_series(1, 4) n group by n
$function$
;

CREATE OR REPLACE FUNCTION rowcast.no_rooms_from(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.not_from_elsewhere()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if pg_trigger_depth() = 1 and current_query() is null then return null; end if;
  return case tg_op when 'DELETE' then old else new end;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.online_in(room text)
 RETURNS SETOF text
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 20
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select o.user_id from rowcast.online o
  where o.rooms @> array[rowcast.name_in('room:' || online_in.room)]
    and (select rowcast.is_presence_known())
$function$
;

CREATE OR REPLACE FUNCTION rowcast.operations_with_trigger(w rowcast.capture)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select w.operations
    || case when 'delete' = any (w.operations) then '{truncate}'::text[] else '{}' end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.padded(key bytea, pad integer)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select string_agg(set_byte('\x00', 0,
    pad # case when n < length(key) then get_byte(key, n) else 0 end), '' order by n)
  from generate_series(0, 63) n
$function$
;

CREATE OR REPLACE FUNCTION rowcast.place(xmin bigint, xmax bigint, xip bigint[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.place_of_change()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  insert into rowcast.membership_commit default values on conflict do nothing;
  return nextval('rowcast.event_id_seq');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.random_key()
 RETURNS bytea
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())$function$
;

CREATE OR REPLACE FUNCTION rowcast.refetch()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  perform rowcast.void_cursors();
  perform pg_notify('rowcast_control', '');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.refuse(message text, hint text, code text DEFAULT 'invalid_parameter_value'::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  raise exception using message = 'rowcast: ' || message, hint = hint, errcode = code;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.refuse_in_use(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  perform rowcast.refuse(
    format('%s was changed in this transaction, and its deferred triggers or constraints are still '
      'to run, or a query reads it', target),
    'Call it in a transaction of its own, or after: set constraints all immediate.',
    'object_in_use');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.refuse_unwatched(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  perform rowcast.refuse(
    format('%s is not watched', coalesce(target::text, 'null')),
    'select target from rowcast.watched lists what is.',
    'undefined_object');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.relations_with_trigger(target regclass, operation text)
 RETURNS SETOF regclass
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select target
  union
  select c.oid from pg_partition_tree(target) p join pg_class c on c.oid = p.relid
  where operation <> 'truncate' and c.relkind in ('r', 'p')
$function$
;

CREATE OR REPLACE FUNCTION rowcast.release_lease(me uuid)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.check_leader();
  update rowcast.lease set until = '-infinity' where holder = me;
$function$
;

CREATE OR REPLACE FUNCTION rowcast.remove_old(keep interval, keep_undelivered interval, batch integer, OUT removed integer, OUT undelivered integer, OUT floor xid8)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.renew_lease(me uuid)
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select rowcast.check_leader();
  update rowcast.lease l set until = clock_timestamp() + rowcast.lease_time(),
    quiet_until = case when exists (select from rowcast.doorbell_holders())
      then clock_timestamp() + interval '30 s' else l.quiet_until end
  where l.holder = me
  returning l.quiet_until > clock_timestamp()
$function$
;

CREATE OR REPLACE FUNCTION rowcast.report_online(my_term bigint, came json, gone text[], whole boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.rewatch(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.ring(channel text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if not exists (select from rowcast.lease where quiet_until > clock_timestamp()) then
    perform pg_notify(channel, '');
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_body(s rowcast.room_source)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_from(target regclass, user_id text, room text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_function(s rowcast.room_source)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select 'rooms_' || s.source $function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_problem(s rowcast.room_source)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_trigger_gone(s rowcast.room_source)
 RETURNS regclass
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select r.relation
  from rowcast.rooms_triggers() t,
    rowcast.relations_with_trigger(s.target, t.operations) r (relation)
  where not exists (select from pg_trigger g
    where g.tgrelid = r.relation and g.tgname = t.name and g.tgenabled = 'A')
  limit 1
$function$
;

CREATE OR REPLACE FUNCTION rowcast.rooms_triggers()
 RETURNS TABLE(name text, operations text, argument text, level text)
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  values ('!rooms_join', 'insert or update', 'join', 'row'),
    ('!rowcast_vacate', 'update or delete', 'leave', 'row'),
    ('!rowcast_vacate_all', 'truncate', 'leave', 'statement')
$function$
;

CREATE OR REPLACE FUNCTION rowcast.rotate_cursor_key()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  update rowcast.installation
  set former_cursor_key = cursor_key, cursor_key = rowcast.random_key();
  perform pg_notify('rowcast_control', '');
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.row_type(function text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select replace(function, 'capture', 'row') $function$
;

CREATE OR REPLACE FUNCTION rowcast.send(type text, data json, audience text[] DEFAULT '{all}'::text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if type is null or type !~ '^[^[:cntrl:][:space:]]{1,100}$' then
    perform rowcast.refuse(
      format('type is %s', quote_nullable(left(type, 120))),
      'A type is a word of 1 to 100 characters without spaces: upload_progress.');
  elsif rowcast.is_own_type(type) then
    perform rowcast.refuse(format('type %s is Rowcast''s own', type), 'Choose another name.');
  elsif octet_length(data::text) > rowcast.max_message_bytes() then
    perform rowcast.refuse(
      format('%s bytes of data fit no message', octet_length(data::text)),
      'API Gateway carries 131072 bytes, and the relay MAX_FRAME_BYTES; '
        'store what is large, and send its key.',
      'program_limit_exceeded');
  end if;
  perform rowcast.check_audience(audience, false);
  return rowcast.append(type, data, audience);
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to(kind text, name text, type text, data json)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
begin
  if coalesce(name, '') = '' then
    -- Not refuse(): the caller runs this, and may have no right to call that.
    raise exception 'rowcast: no % was given to send to', kind using
      errcode = 'invalid_parameter_value', hint = 'To reach everybody, use rowcast.broadcast().';
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

CREATE OR REPLACE FUNCTION rowcast.send_to_room(room anynonarray, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('room', room::text, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_room(room text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('room', room, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_user(user_id anynonarray, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('user', user_id::text, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.send_to_user(user_id text, type text, data json)
 RETURNS bigint
 LANGUAGE sql
AS $function$ select rowcast.send_to('user', user_id, type, data) $function$
;

CREATE OR REPLACE FUNCTION rowcast.shape_of(target regclass)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select jsonb_agg(jsonb_build_object('number', a.attnum, 'name', a.attname,
      'type', format('%I.%I', n.nspname, t.typname),
      'base', rowcast.base_of(t.oid), 'way', rowcast.way_of(t.oid, c.relowner),
      -- Its text by a cast is another than by its output function: true and t.
      'cast', exists (select from pg_cast k
        where k.castsource = t.oid and k.casttarget = 'text'::regtype and k.castfunc <> 0
          and t.oid < 16384))
    order by a.attnum)
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  join pg_namespace n on n.oid = t.typnamespace
  where c.oid = target
$function$
;

CREATE OR REPLACE FUNCTION rowcast.shorten_name(name text)
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

CREATE OR REPLACE FUNCTION rowcast.snapshot()
 RETURNS text
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.stay_sql(s rowcast.room_source, record text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select rowcast.audience_sql(rowcast.as_watch(s), record) $function$
;

CREATE OR REPLACE FUNCTION rowcast.stored_bytes_sql(w rowcast.capture, record text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case
    when w.columns is null then format('pg_column_size(%s)', record)
    else coalesce((
      select string_agg(
        format('coalesce(pg_column_size(%s.%I), 0)', record, a.attname), ' + ' order by a.attnum)
      from pg_attribute a
      where a.attrelid = w.target and a.attnum > 0
        and a.attname = any (w.columns) and a.attlen = -1), '0')
  end
$function$
;

CREATE OR REPLACE FUNCTION rowcast.take_back(w rowcast.capture, owner oid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if w.granted and owner is not null and exists (select from pg_roles where oid = owner)
    and not exists (select from rowcast.capture c join pg_class r on r.oid = c.target
      where r.relowner = owner) then
    execute format('revoke usage on schema rowcast from %s', owner::regrole);
  end if;
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.take_lease(my_name text, OUT standby boolean, OUT holder uuid, OUT term bigint, OUT silent_pid integer, OUT silent_seconds integer)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.take_rooms(s rowcast.room_source)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
 SET "IntervalStyle" TO 'iso_8601'
 SET bytea_output TO 'hex'
 SET extra_float_digits TO '1'
 SET lc_monetary TO 'C'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.text_sql(record text, named text, shape jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select case when coalesce((c ->> 'cast')::boolean, false)
    then format('case when pg_typeof(%1$s.%2$I) = %3$L::regtype '
      'then format(''%%s'', %1$s.%2$I)::%3$s::text else format(''%%s'', %1$s.%2$I) end',
      record, named, c ->> 'type')
    else format('format(''%%s'', %s.%I)', record, named) end
  from (values (1)) one (row)
  left join jsonb_array_elements(shape) c on c ->> 'name' = named
$function$
;

CREATE OR REPLACE FUNCTION rowcast.timeline()
 RETURNS integer
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select greatest(c.timeline_id, r.min_recovery_end_timeline)
  from pg_control_checkpoint() c, pg_control_recovery() r
$function$
;

CREATE OR REPLACE FUNCTION rowcast.trigger_gone(w rowcast.capture)
 RETURNS regclass
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select r.relation
  from unnest(rowcast.operations_with_trigger(w)) o,
    rowcast.relations_with_trigger(w.target, o) r (relation)
  where not exists (select from pg_trigger g
    where g.tgrelid = r.relation and g.tgname = rowcast.trigger_name(o) and g.tgenabled = 'A')
  limit 1
$function$
;

CREATE OR REPLACE FUNCTION rowcast.trigger_name(operation text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$ select '!rowcast_' || operation $function$
;

CREATE OR REPLACE FUNCTION rowcast.types_in(type oid)
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  with recursive reached (oid) as (
    select type
    union
    select part.oid
    from reached r join pg_type t on t.oid = r.oid cross join lateral (
      select t.typbasetype where t.typtype = 'd'
      union all select t.typelem where t.typelem >= 16384
      union all select a.atttypid from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) part (oid)
    -- FirstNormalObjectId in Postgres's transam.h: below are its own.
    where r.oid >= 16384
  )
  select r.oid from reached r where r.oid >= 16384
$function$
;

CREATE OR REPLACE FUNCTION rowcast.unseen_on_standby(xmin bigint, xmax bigint)
 RETURNS bigint[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.unwatch(target regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '3s'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.unwatch_presence(term text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.virtual_sql(w rowcast.capture, record text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  select string_agg(
    format('%1$s.%2$I := (select %3$s from (select %4$s) r);',
      record, a.attname, pg_get_expr(d.adbin, d.adrelid), (
        select string_agg(format('rowcast.exactly(%s.%I, null::%s) as %2$I',
          record, c.name, c.type), ', ')
        from pg_depend p
        join pg_attribute b on b.attrelid = a.attrelid and b.attnum = p.refobjsubid
        join jsonb_to_recordset(w.shape) c (name text, type text) on c.name = b.attname
        where p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
          and p.refobjid = a.attrelid and b.attnum <> a.attnum)),
    ' ' order by a.attnum)
  from pg_attribute a
  join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = w.target and a.attgenerated = 'v' and not a.attisdropped
    and (w.columns is null
      or a.attname = any (w.columns || rowcast.audience_columns(w.audience)))
$function$
;

CREATE OR REPLACE FUNCTION rowcast.void_cursors()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  update rowcast.installation
  set id = gen_random_uuid(), timeline = rowcast.timeline(), refetch_before = null;
  -- Nobody has been served in the new installation: the relay replays to everybody from where the
  -- cursor is.
  update rowcast.cursor
  set installation = (select id from rowcast.installation), served_until = 'epoch',
    served_snapshot = snapshot, exceptions = '{}', updated_at = now();
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.watch(target regclass, entity text DEFAULT NULL::text, audience text[] DEFAULT '{all}'::text[], columns text[] DEFAULT NULL::text[], operations text[] DEFAULT '{insert,update,delete}'::text[], include_old boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'warning'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.watch_presence(term text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.watch_problem(w rowcast.capture)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION rowcast.way_of(type oid, owner oid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  t pg_type;
  types oid[];
begin
  select * into t from pg_type where oid = type;
  if t.typtype = 'd' then return rowcast.way_of(t.typbasetype, owner); end if;
  if t.oid < 16384 then return 'plain'; end if;
  if t.typsubscript = 'array_subscript_handler'::regproc then
    return replace(rowcast.way_of(t.typelem, owner), 'text', 'list');
  end if;
  types := array(select rowcast.types_in(t.oid));
  if rowcast.are_own(types, owner) and (t.typtype = 'c' or exists (
    select from pg_cast c where c.castsource = t.oid and c.casttarget = 'json'::regtype)) then
    return 'owner';
  end if;
  return 'text';
end $function$
;

CREATE OR REPLACE FUNCTION rowcast.without_events(xids bigint[])
 RETURNS bigint[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
  past bigint[] := array(
    select x from unnest(xids) x where pg_xact_status(x::text::xid8) <> 'in progress');
begin
  return array(select x from unnest(past) x
    where not exists (select from rowcast.event e where e.xid = x::text::xid8));
end $function$
;

CREATE TRIGGER "!rowcast_delete" AFTER DELETE ON public.complaints FOR EACH ROW EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER "!rowcast_insert" AFTER INSERT ON public.complaints FOR EACH ROW EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER "!rowcast_truncate" AFTER TRUNCATE ON public.complaints FOR EACH STATEMENT EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER "!rowcast_update" AFTER UPDATE ON public.complaints FOR EACH ROW EXECUTE FUNCTION rowcast.capture_2(); -- always

CREATE TRIGGER "!rowcast_delete" AFTER DELETE ON public.messages FOR EACH ROW EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER "!rowcast_insert" AFTER INSERT ON public.messages FOR EACH ROW EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER "!rowcast_truncate" AFTER TRUNCATE ON public.messages FOR EACH STATEMENT EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER "!rowcast_update" AFTER UPDATE ON public.messages FOR EACH ROW EXECUTE FUNCTION rowcast.capture_1(); -- always

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.capture FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.cursor FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.disconnected FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.event FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.installation FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.membership FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE CONSTRAINT TRIGGER commit_memberships AFTER INSERT ON rowcast.membership_commit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rowcast.commit_memberships(); -- always

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.membership_commit FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.presence_watch FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();

CREATE TRIGGER keep_apart BEFORE INSERT OR DELETE OR UPDATE ON rowcast.room_source FOR EACH ROW EXECUTE FUNCTION rowcast.not_from_elsewhere();
