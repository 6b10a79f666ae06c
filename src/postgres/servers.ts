import pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';
import { errorText } from '../error-text.ts';

/** How to reach the database; one of `servers` where there are several. */
export interface Database extends pg.ClientConfig {
  /** Several servers, asked in this order: the one that takes writes is used. */
  readonly servers?: readonly pg.ClientConfig[];
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Settings of every connection of ours, beside those of the URL: `options` of the URL come
 * first, and these settings hold whatever the database, the role or the URL set, because statements
 * mean something else with others.
 *
 * A peer that vanished is found from both ends: Node probes after 10 s and then each second ten
 * times; Postgres after 15 s, and frees the locks of a vanished relay in about 30 s instead of 2 h.
 */
const SETTINGS: Readonly<Record<string, string | number>> = {
  tcp_keepalives_idle: 15,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
  tcp_user_timeout: 30_000,
  idle_session_timeout: 0,
  idle_in_transaction_session_timeout: 0,
  lock_timeout: 0,
  // Another level would make transactions of the application fail: they would conflict with our
  // reads.
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  // A commit of the cursor is flushed, and waits for no replica: see cursor-store.ts.
  synchronous_commit: 'local',
  search_path: 'public',
  timezone: 'UTC',
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  quote_all_identifiers: 'off',
  array_nulls: 'on',
  // A kept plan does not know the cursor and takes a third of the log for new (seen on 14): the
  // index, always.
  enable_seqscan: 'off',
  enable_indexscan: 'on',
  enable_indexonlyscan: 'on',
  enable_nestloop: 'on',
  jit: 'off',
};

/** @param statementTimeoutMs after which Postgres itself ends a statement; 0 for never */
export function connectionOptions(
  database: pg.ClientConfig,
  applicationName: string,
  statementTimeoutMs = 0,
): pg.ClientConfig {
  const { connectionString, ...given } = database;
  // pg would prefer the string's to those that are set beside it.
  const client =
    connectionString === undefined
      ? given
      : { ...given, ...parseIntoClientConfig(connectionString) };
  const settings = { ...SETTINGS, statement_timeout: statementTimeoutMs };
  return {
    ...client,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    options: [
      client.options,
      ...Object.entries(settings).map(
        ([name, value]) => `-c ${name}=${String(value).replaceAll(' ', '\\ ')}`,
      ),
    ]
      .filter(Boolean)
      .join(' '),
  };
}

/**
 * The server to connect to: of several, the first that takes writes, as libpq finds it by
 * target_session_attrs. Asked before each connection, because a failover makes it another.
 * @throws where none of several does, with what each answered
 */
export async function serverOf(database: Database): Promise<pg.ClientConfig> {
  const { servers, ...common } = database;
  if (!servers) return common;
  if (servers.length === 1) return { ...common, ...servers[0] };
  const answers: string[] = [];
  for (const server of servers) {
    const answer = await refusalOf({ ...common, ...server });
    if (answer === null) return { ...common, ...server };
    answers.push(`${server.host ?? 'localhost'}:${server.port ?? 5432}: ${answer}`);
  }
  throw Object.assign(
    new Error(`none of the servers of DATABASE_URL takes writes (${answers.join('; ')})`),
    {
      code: NO_WRITER,
    },
  );
}

/**
 * No connection, or one to a server that is starting, stopping, full or a standby: it may be
 * another matter in a minute.
 */
const UNREACHABLE =
  /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOENT|08...|57P0.|53300|25006)$/;

/** The database is away, and may come back by itself; nobody has to change a setting. */
export function isUnreachable(error: unknown): boolean {
  const { code, message = '' } = error as { code?: unknown; message?: string };
  if (typeof code === 'string') return UNREACHABLE.test(code);
  return /timeout|terminated unexpectedly|did not answer/i.test(message);
}

/** Class "connection exception": it may be found again, as after a failover. */
const NO_WRITER = '08000';

async function refusalOf(server: pg.ClientConfig): Promise<string | null> {
  const client = new pg.Client(connectionOptions(server, 'rowcast connect'));
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ standby: boolean }>(
      'select pg_is_in_recovery() as standby',
    );
    return rows[0]?.standby ? 'a read-only standby' : null;
  } catch (error) {
    return errorText(error);
  } finally {
    void client.end().catch(() => undefined);
  }
}
