import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import pg from 'pg';
import { errorText } from '../error-text.ts';
import { connectionOptions, type Database, serverOf } from './servers.ts';
import { Session } from './session.ts';

const ECHO_TIMEOUT_MS = 5000;

/**
 * Whether a notification that is sent comes back to a connection that listens. Through a pooler in
 * transaction mode LISTEN succeeds and nothing is ever heard.
 * @returns what is wrong and what to do, or null
 */
export async function checkNotifications(database: Database): Promise<string | null> {
  const channel = `rowcast_check_${randomUUID().replaceAll('-', '')}`;
  // Our own socket: on a half-open one neither a query nor a close is ever answered.
  const socket = new Socket();
  let deadline: NodeJS.Timeout | undefined;
  try {
    const server = await serverOf(database);
    const listener = new pg.Client({
      ...connectionOptions(server, 'rowcast check'),
      connectionTimeoutMillis: ECHO_TIMEOUT_MS,
      query_timeout: ECHO_TIMEOUT_MS,
      stream: () => socket,
    });
    listener.on('error', () => undefined);
    await listener.connect();
    const echo = new Promise<true>((resolve) => {
      listener.on('notification', () => resolve(true));
    });
    await listener.query(`listen ${channel}`);
    await notify(server, channel);
    const silence = new Promise<false>((resolve) => {
      deadline = setTimeout(resolve, ECHO_TIMEOUT_MS, false);
    });
    if (await Promise.race([echo, silence])) return null;
    return 'DATABASE_URL leads through a pooler in transaction mode (PgBouncer, RDS Proxy …): a notification that was sent did not come back. Use a direct connection, or set ROWCAST_DOORBELL=off';
  } catch (error) {
    return `DATABASE_URL: a notification could not be sent and heard: ${errorText(error)}`;
  } finally {
    clearTimeout(deadline);
    socket.destroy();
  }
}

/**
 * From a connection of its own: a pooler may give both statements of one client to the same server.
 */
async function notify(database: Database, channel: string): Promise<void> {
  const session = await Session.open({
    database,
    applicationName: 'rowcast check',
    queryTimeoutMs: ECHO_TIMEOUT_MS,
  });
  try {
    await session.query('select pg_notify($1, $2)', [channel, '']);
  } finally {
    await session.close();
  }
}
