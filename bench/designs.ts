/** The ways to hear of rows that are compared, each with a database of its own. */
export type Design = 'ours' | 'none' | 'classic' | 'always';

const MESSAGES = `create table if not exists messages (
  id bigint generated always as identity primary key, sender text, recipient text, content text not null,
  status text not null default 'sent', created_at timestamptz not null default now(), updated_at timestamptz not null default now());`;

export const TABLES: Readonly<Record<Design, string>> = {
  /** As the migrations leave it. */
  ours: '',
  /** No trigger: what Postgres can do. */
  none: MESSAGES,
  /** The trigger that every tutorial shows. */
  classic: `${MESSAGES}
    create function notify_row() returns trigger language plpgsql as
      $$ begin perform pg_notify('messages', row_to_json(new)::text); return null; end $$;
    create trigger notify_row after insert on messages for each row execute function notify_row();`,
  /** A log, as ours, with a notification in every transaction. */
  always: `${MESSAGES}
    create table log (id bigint generated always as identity primary key, xid xid8 not null default pg_current_xact_id(),
      occurred_at timestamptz not null default clock_timestamp(), type text not null, audience text[] not null, data json);
    create index on log (xid);
    create function append() returns trigger language plpgsql as $$ begin
      insert into log (type, audience, data) values ('NEW_MESSAGE', '{all}', row_to_json(new));
      perform pg_notify('messages', '');
      return null;
    end $$;
    create trigger append after insert on messages for each row execute function append();`,
};
