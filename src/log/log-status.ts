import type { DoorbellHolder } from '../listener/lease.ts';
import type { Session } from '../postgres/session.ts';
import { CONSUMER } from './cursor-store.ts';
import { type Lag, LogLag } from './log-lag.ts';

/** Younger transactions hold nothing up that anybody would notice. */
const OLD_TRANSACTION_SECONDS = 60;

/** Rowcast's state in the database, for `rowcast status` and `doctor`. Reads only. */
export async function readLogStatus(session: Session): Promise<LogStatus> {
  const [server] = await session.query<{
    database: string;
    version: string;
    standby: boolean;
    installed: boolean;
  }>(
    `select current_database() as database, current_setting('server_version') as version, pg_is_in_recovery() as standby,
       to_regclass('rowcast.event') is not null as installed`,
  );
  const status = server as {
    database: string;
    version: string;
    standby: boolean;
    installed: boolean;
  };
  if (!status.installed) return { ...status, installed: false };
  const [log] = await session.query<LogSize>(SIZE);
  const [cursor] = await session.query<CursorAge>(CURSOR, [CONSUMER]);
  return {
    ...status,
    installed: true,
    // An unlogged table cannot be read on a standby.
    relays: status.standby ? [] : await session.query<RelaySession>(RELAYS),
    doorbellHolders: status.standby ? [] : await session.query<DoorbellHolder>(DOORBELL_HOLDERS),
    lag: await new LogLag(session).measure(),
    cursor: cursor ?? null,
    log: log as LogSize,
    watched: await session.query<WatchedTable>(WATCHED),
    holding: await session.query<HoldingTransaction>(HOLDING, [OLD_TRANSACTION_SECONDS]),
    hidden: (await session.query<{ hidden: number }>(HIDDEN))[0]?.hidden ?? 0,
    dropped: (await session.query<{ entity: string }>(DROPPED)).map(({ entity }) => entity),
  };
}

/** Null where that is not known. */
export function installationOf(status: LogStatus): string | null {
  return status.installed ? (status.cursor?.installation ?? null) : null;
}

/** A leader speaks every 3 s; after 12 a standby ends its connection (lease.ts). */
const SILENT_SECONDS = 10;

/** How long a leader has been silent that should have spoken; null for all others. */
export function silenceOf({ leads, silentSeconds }: RelaySession): number | null {
  return leads && silentSeconds !== null && silentSeconds > SILENT_SECONDS ? silentSeconds : null;
}

export type LogStatus = (ServerStatus & { readonly installed: false }) | InstalledLogStatus;

interface ServerStatus {
  readonly database: string;
  /** `18.0` */
  readonly version: string;
  readonly standby: boolean;
}

export interface InstalledLogStatus extends ServerStatus {
  readonly installed: true;
  /** The leader first. */
  readonly relays: readonly RelaySession[];
  /** No relays, and they have the doorbell's lock or wait for it: nobody rings. */
  readonly doorbellHolders: readonly DoorbellHolder[];
  readonly lag: Lag;
  /** Null where the consumer has no row. */
  readonly cursor: CursorAge | null;
  readonly log: LogSize;
  readonly watched: readonly WatchedTable[];
  /** The oldest first. */
  readonly holding: readonly HoldingTransaction[];
  /**
   * Sessions of other roles that may hold something, and whose age only pg_read_all_stats shows.
   */
  readonly hidden: number;
  /** Tables that were watched and have been dropped since, by their entity. */
  readonly dropped: readonly string[];
}

export interface RelaySession {
  readonly host: string;
  readonly pid: number;
  readonly leads: boolean;
  /** It holds the doorbell's lock: the next row rings. */
  readonly asleep: boolean;
  /**
   * Null where the right to see it is missing: another role's session, without pg_read_all_stats.
   */
  readonly connectedSeconds: number | null;
  /** Since its last word; a leader speaks every three seconds. Null as above. */
  readonly silentSeconds: number | null;
  /** The leader's (rowcast.lease); null for others. */
  readonly term: string | null;
}

export interface CursorAge {
  /** Uuid. */
  readonly installation: string;
  readonly snapshot: string;
  /** Since something was delivered last. */
  readonly ageSeconds: number;
  /** A window is being delivered page by page. */
  readonly backlog: boolean;
  /** False for a copy of the database that Rowcast was installed in. */
  readonly ours: boolean;
  /** True for a cursor that names transactions this database never had. */
  readonly void: boolean;
}

export interface LogSize {
  readonly bytes: number;
  /** Id of the newest event; null for an empty log. */
  readonly last: string | null;
  /** About: ids have gaps. */
  readonly events: number;
  /** From the oldest event to now; null for an empty log. */
  readonly spanSeconds: number | null;
}

export interface WatchedTable {
  readonly target: string;
  readonly entity: string;
  readonly audience: readonly string[];
  readonly operations: readonly string[];
  readonly problem: string | null;
  /** It is captured, and more of it leaves than may be meant. */
  readonly warning: string | null;
}

export interface HoldingTransaction {
  /** Null for a prepared transaction. */
  readonly pid: number | null;
  /** The session's name, or the prepared transaction's own. */
  readonly name: string;
  readonly role: string;
  readonly ageSeconds: number;
  readonly state: string;
  /** It keeps the relay from sleeping. */
  readonly holdsDoorbell: boolean;
}

/**
 * The leader by the lease's row. The others wait for it: sessions of that name, which anybody may
 * give himself, of roles that may take it.
 */
const RELAYS = `
  select coalesce(l.name, substr(a.application_name, length('rowcast lease ') + 1)) as host, a.pid, l.pid is not null as leads,
    exists (select from pg_locks k join pg_database d on d.oid = k.database and d.datname = current_database()
      where k.pid = a.pid and k.locktype = 'advisory' and k.granted and k.mode = 'ExclusiveLock'
        and k.classid = rowcast.lock_class() and k.objid = rowcast.doorbell_lock() and k.objsubid = 2) as asleep,
    extract(epoch from clock_timestamp() - a.backend_start)::float8 as "connectedSeconds",
    case when l.pid is null then extract(epoch from clock_timestamp() - a.state_change)
      else extract(epoch from clock_timestamp() - l.until + rowcast.lease_time()) end::float8 as "silentSeconds",
    l.term::text as term
  from pg_stat_activity a
  left join rowcast.lease l on l.pid = a.pid and l.until > '-infinity' and coalesce(a.backend_start = l.backend_start, true)
  where a.datname = current_database() and (l.pid is not null or a.application_name like 'rowcast lease %'
    and exists (select from pg_roles r where pg_has_role(a.usesysid, r.oid, 'member') and has_table_privilege(r.oid, 'rowcast.cursor', 'update')))
  order by 3 desc, a.backend_start`;

const DOORBELL_HOLDERS = 'select pid, role, application from rowcast.doorbell_holders() limit 5';

const CURSOR = `
  select i.id::text as installation, c.snapshot::text, extract(epoch from clock_timestamp() - c.updated_at)::float8 as "ageSeconds", c.until is not null as backlog,
    i.identity = rowcast.database_identity() as ours,
    pg_snapshot_xmax(c.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) as void
  from rowcast.installation i join rowcast.cursor c on c.consumer = $1`;

const SIZE = `
  with ends as (select min(id) as first, max(id) as last from rowcast.event)
  select pg_total_relation_size('rowcast.event')::float8 as bytes, last::text, coalesce(last - first + 1, 0)::float8 as events,
    (select extract(epoch from clock_timestamp() - occurred_at)::float8 from rowcast.event where id = first) as "spanSeconds"
  from ends`;

const WATCHED = `
  select target::text, entity, audience, operations, problem, warning from rowcast.watched order by problem is null, target::text`;

/**
 * $1 seconds. A session with an xid or a snapshot keeps vacuum from removing what was
 * deleted since.
 */
const HOLDING = `
  select a.pid, a.application_name as name, coalesce(a.usename, '') as role, a.state,
    extract(epoch from clock_timestamp() - a.xact_start)::float8 as "ageSeconds",
    exists (select from pg_locks l where l.pid = a.pid and l.locktype = 'advisory' and l.granted and l.mode = 'ShareLock'
      and l.classid = rowcast.lock_class() and l.objid = rowcast.doorbell_lock() and l.objsubid = 2) as "holdsDoorbell"
  from pg_stat_activity a
  where a.pid <> pg_backend_pid() and a.backend_type = 'client backend' and (a.backend_xid is not null or a.backend_xmin is not null)
    and a.xact_start < clock_timestamp() - $1 * interval '1 second'
  union all
  select null, p.gid, p.owner::text, 'prepared', extract(epoch from clock_timestamp() - p.prepared)::float8, false
  from pg_prepared_xacts p where p.prepared < clock_timestamp() - $1 * interval '1 second'
  order by "ageSeconds" desc limit 5`;

const HIDDEN = `
  select count(*)::int as hidden from pg_stat_activity
  where backend_type is null and (backend_xid is not null or backend_xmin is not null)`;

const DROPPED = `
  select entity from rowcast.capture c where not exists (select from pg_class r where r.oid = c.target)`;
