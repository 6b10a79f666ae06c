import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { NotificationListener } from '../listener/notification-listener.ts';
import type { Database } from '../postgres/servers.ts';
import { Session } from '../postgres/session.ts';
import type { RelayDeps } from '../relay/relay.ts';

/**
 * A statement that takes longer means that the connection or the database is sick. The longest one
 * reads a page of the log.
 */
const QUERY_TIMEOUT_MS = 15_000;

/** A relay's access to its database. pg_stat_activity shows the purpose of each connection. */
export function relayDatabase(
  database: Database,
  log: Logger,
): Pick<RelayDeps, 'name' | 'openSession' | 'notifications'> {
  const name = hostname();
  const applicationName = (purpose: string) => `rowcast ${purpose} ${name}`;
  return {
    name,
    openSession: (purpose) =>
      Session.open({
        database,
        applicationName: applicationName(purpose),
        queryTimeoutMs: QUERY_TIMEOUT_MS,
      }),
    notifications: new NotificationListener({
      database,
      applicationName: applicationName('listen'),
      log,
    }),
  };
}
