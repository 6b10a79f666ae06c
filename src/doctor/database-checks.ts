import { errorText } from '../error-text.ts';
import type { DatabaseAccess } from '../postgres/access.ts';
import { pendingMigrations, recordProblem } from '../postgres/migrations.ts';
import { checkNotifications } from '../postgres/notification-check.ts';
import type { Session } from '../postgres/session.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem, skipped } = findingsOf('database');

/** An older one does not know idle_session_timeout, which each session sets. */
const OLDEST_VERSION = 14;

/** Advice about errors of connecting, by Postgres's code or Node's. */
const CONNECT_FIXES: Readonly<Record<string, string>> = {
  '28P01':
    'the user or password of DATABASE_URL is wrong (special characters are percent-encoded), or the secret is of another database',
  '28000':
    'pg_hba.conf, or the rds_iam grant that DATABASE_AUTH=iam needs, does not let this user in from here; or TLS is required: add ?sslmode=verify-full',
  '3D000': 'the database that DATABASE_URL names does not exist',
  '53300': 'too many connections: raise max_connections, or close some; Rowcast needs 5 a relay',
  ECONNREFUSED: 'nobody listens there: is Postgres running, and are host and port right?',
  ENOTFOUND:
    'the host name of DATABASE_URL is not known here: a private name is known inside its VPC only',
  ETIMEDOUT: 'nothing answers: the security group or a firewall does not let this machine through',
  '08P01':
    'a pooler such as PgBouncer refuses the session settings: use a direct connection to Postgres',
};

const OLDER = /unrecognized configuration parameter/i;

/** For a database that cannot be reached. */
export function connectFinding(error: unknown): Finding {
  const { code, message = '' } = error as { code?: string; message?: string };
  const pooler = /unsupported startup parameter/i.test(message)
    ? CONNECT_FIXES['08P01']
    : undefined;
  if (OLDER.test(message))
    return problem('version', message, `Rowcast needs Postgres ${OLDEST_VERSION} or newer`);
  const silent = /timeout|timed out|did not answer/i.test(message)
    ? CONNECT_FIXES.ETIMEDOUT
    : undefined;
  return problem(
    'reachable',
    errorText(error),
    pooler ??
      (code ? CONNECT_FIXES[code] : undefined) ??
      silent ??
      'see docs/operations.md, "Poolers"',
  );
}

/**
 * The server, and whether this connection leads to it as it must.
 * @returns whether what is in it may be looked at
 */
export async function* databaseFindings(deps: DatabaseDeps): AsyncGenerator<Finding, boolean> {
  const { session, access, doorbell } = deps;
  const startedAt = performance.now();
  const [row] = await session.query<Server>(SERVER);
  const server = row as Server;
  const tookMs = Math.round(performance.now() - startedAt);
  yield ok(
    'reachable',
    `${server.database} as ${server.role}, Postgres ${server.version}, ${tookMs} ms a round trip`,
  );
  yield access.warning
    ? warning('encrypted', access.warning)
    : ok('encrypted', access.tls === 'verified' ? 'by TLS, verified' : 'not, and on this machine');
  yield server.standby
    ? problem('primary', 'DATABASE_URL leads to a read-only standby', 'give it the writer endpoint')
    : ok('primary', 'it takes writes');
  yield* directFindings(deps, server);
  const rights = await rightsFinding(session);
  yield rights;
  yield await othersFinding(session);
  const migrations =
    rights.verdict === 'ok'
      ? await migrationsFinding(access)
      : skipped('migrations', 'the rights are to be granted first');
  yield migrations;
  yield server.prepared > 0 && doorbell
    ? warning(
        'two-phase commit',
        `max_prepared_transactions is ${server.prepared}: PREPARE TRANSACTION fails in a transaction that rang`,
        'set ROWCAST_DOORBELL=off if the application uses it',
      )
    : ok(
        'two-phase commit',
        server.prepared > 0
          ? 'possible: the doorbell is off'
          : 'not possible here, so no conflict with NOTIFY',
      );
  return migrations.verdict === 'ok';
}

interface DatabaseDeps {
  readonly session: Session;
  readonly access: DatabaseAccess;
  /** ROWCAST_DOORBELL */
  readonly doorbell: boolean;
}

/**
 * LISTEN, session locks and session settings live as long as the connection: a pooler shares them
 * out.
 */
async function* directFindings({ access, doorbell }: DatabaseDeps, server: Server): Findings {
  if (!server.settings_arrive)
    yield problem(
      'session settings',
      'what Rowcast asks of its sessions does not arrive: something in between, such as a pooler, drops it',
      'use a direct connection to Postgres',
    );
  else if (server.idle_session_timeout !== '0')
    yield problem(
      'session settings',
      `idle_session_timeout is ${server.idle_session_timeout}: it would end idle sessions of the relay`,
      'set it to 0 for its role',
    );
  else
    yield ok(
      'session settings',
      'they arrive; idle_session_timeout does not end idle sessions of the relay',
    );
  if (server.replication_role !== 'origin')
    yield warning(
      'replication role',
      `session_replication_role is ${server.replication_role} for this user: ordinary triggers do not fire; Rowcast's own do (ENABLE ALWAYS)`,
    );
  else yield ok('replication role', 'origin');
  if (server.standby) return yield skipped('doorbell', 'a standby cannot notify');
  const startedAt = performance.now();
  const silent = await checkNotifications(access.client);
  if (silent === null)
    yield ok(
      'doorbell',
      `a notification came back in ${Math.round(performance.now() - startedAt)} ms, connecting included`,
    );
  else
    yield doorbell
      ? problem('doorbell', silent)
      : warning('doorbell', `${silent} (it is off: rows are polled)`);
}

async function migrationsFinding({ client }: DatabaseAccess): Promise<Finding> {
  const found = await pendingMigrations(client);
  const { pending, applied } = found;
  const [sick, wayOut] = recordProblem(found)?.split('. ') ?? [];
  if (sick) return problem('migrations', sick, wayOut ?? '');
  if (pending.length === 0) return ok('migrations', `all ${applied.length} are applied`);
  return problem(
    'migrations',
    `${pending.join(', ')} not applied`,
    'rowcast migrate up (rowcast start does so by itself, unless MIGRATE_ON_START=false)',
  );
}

/** As docs/sql.md grants them. */
async function rightsFinding(session: Session): Promise<Finding> {
  const missing = await session.query<{ missing: string }>(RIGHTS);
  if (missing.length === 0)
    return ok('rights', 'this user may read the log, move the cursor and remove old events');
  return problem(
    'rights',
    `this user may not: ${missing.map((each) => each.missing).join(', ')}`,
    'docs/sql.md has the grants of a relay; or connect as the role that applied the migrations',
  );
}

/** Default privileges, or a grant that was meant for something else. */
async function othersFinding(session: Session): Promise<Finding> {
  const [found] = await session.query<{ others: string | null }>(OTHERS);
  return found?.others
    ? warning(
        'rights of others',
        `PUBLIC has ${found.others}: every role that may connect`,
        'revoke all on all tables in schema rowcast from public; revoke all on schema rowcast from public',
      )
    : ok('rights of others', 'PUBLIC has none on the schema or its tables');
}

interface Server {
  database: string;
  role: string;
  version: string;
  standby: boolean;
  /** A setting that differs from Postgres's own default has arrived. */
  settings_arrive: boolean;
  idle_session_timeout: string;
  replication_role: string;
  prepared: number;
}

const SERVER = `
  select current_database() as database, current_user as role, current_setting('server_version') as version, pg_is_in_recovery() as standby,
    current_setting('enable_seqscan') = 'off' as settings_arrive, current_setting('idle_session_timeout') as idle_session_timeout, current_setting('session_replication_role') as replication_role,
    current_setting('max_prepared_transactions')::int as prepared`;

const OTHERS = `
  select string_agg(distinct lower(a.privilege_type) || ' on ' || o.name, ', ') as others
  from (select c.oid::regclass::text as name, c.relacl as acl from pg_class c where c.relnamespace = to_regnamespace('rowcast')
    union all select 'schema rowcast', n.nspacl from pg_namespace n where n.nspname = 'rowcast') o
  cross join aclexplode(o.acl) a where a.grantee = 0`;

/** Nothing is missing of what is not there yet. */
const RIGHTS = `
  select missing from (
    select 'usage on schema rowcast' as missing, has_schema_privilege(n.oid, 'usage') as has from pg_namespace n where nspname = 'rowcast'
    union all
    select privilege || ' on rowcast.' || relation, has_table_privilege(c.oid, privilege)
    from (values ('event', 'select'), ('event', 'delete'), ('cursor', 'select'), ('cursor', 'update'), ('installation', 'select'),
      ('installation', 'update'), ('lease', 'select'), ('capture', 'select'), ('watched', 'select'), ('migrations', 'select')) needed (relation, privilege)
    join pg_class c on c.relname = relation and c.relnamespace = to_regnamespace('rowcast')
  ) rights where not has`;
