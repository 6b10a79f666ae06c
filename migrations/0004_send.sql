-- Up Migration
-- Messages of the application's own, in its own transaction. A role with USAGE on schema rowcast
-- may send; no other role has it until it is granted.
-- Locks: none.

-- Appends to the log for functions that have checked what they append.
create function rowcast.append(type text, data json, audience text[]) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  event_id bigint;
begin
  insert into rowcast.event (type, audience, data) values (type, audience, data)
  returning id into event_id;
  if not pg_try_advisory_xact_lock_shared(rowcast.lock_class(), rowcast.doorbell_lock()) then
    perform rowcast.ring('rowcast_send');
  end if;
  return event_id;
end $$;

create function rowcast.send(
  type text, data json, audience text[] default '{all}'
) returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
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
end $$;

create function rowcast.broadcast(type text, data json) returns bigint language sql
as $$ select rowcast.send(type, data, '{all}') $$;

-- One term from a kind and a name that the caller gives; a missing name is an error, not everybody.
create function rowcast.send_to(kind text, name text, type text, data json) returns bigint
language plpgsql as $$
begin
  if coalesce(name, '') = '' then
    -- Not refuse(): the caller runs this, and may have no right to call that.
    raise exception 'rowcast: no % was given to send to', kind using
      errcode = 'invalid_parameter_value', hint = 'To reach everybody, use rowcast.broadcast().';
  end if;
  return rowcast.send(type, data, array[kind || ':' || name]);
end $$;

create function rowcast.send_to_user(user_id text, type text, data json) returns bigint language sql
as $$ select rowcast.send_to('user', user_id, type, data) $$;

-- For ids that are no text in the database: numbers, uuids.
create function rowcast.send_to_user(user_id anynonarray, type text, data json) returns bigint
language sql
as $$ select rowcast.send_to('user', user_id::text, type, data) $$;

create function rowcast.send_to_room(room text, type text, data json) returns bigint language sql
as $$ select rowcast.send_to('room', room, type, data) $$;

create function rowcast.send_to_room(room anynonarray, type text, data json) returns bigint
language sql
as $$ select rowcast.send_to('room', room::text, type, data) $$;

create function rowcast.send_to_role(role text, type text, data json) returns bigint language sql
as $$ select rowcast.send_to('role', role, type, data) $$;

create function rowcast.send_to_connection(connection_id text, type text, data json) returns bigint
language sql
as $$ select rowcast.send_to('connection', connection_id, type, data) $$;

-- Closes the connections of a term that were made before. An event of the log that only the relay
-- reads, in commit order: what was committed before is delivered first, nothing after it. To throw
-- people out is more than to send: who may do it is granted it.
create function rowcast.disconnect(term text, reason text default null) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
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
end $$;
revoke all on function rowcast.disconnect(text, text) from public;

-- Down Migration
-- Locks: none.
drop function rowcast.disconnect(text, text);
drop function rowcast.send_to_connection(text, text, json);
drop function rowcast.send_to_role(text, text, json);
drop function rowcast.send_to_room(anynonarray, text, json);
drop function rowcast.send_to_room(text, text, json);
drop function rowcast.send_to_user(anynonarray, text, json);
drop function rowcast.send_to_user(text, text, json);
drop function rowcast.send_to(text, text, text, json);
drop function rowcast.broadcast(text, json);
drop function rowcast.send(text, json, text[]);
drop function rowcast.append(text, json, text[]);
