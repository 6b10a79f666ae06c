import { databaseAccess } from '../database.ts';
import { type LogStatus, readLogStatus } from '../listener/log-status.ts';
import { Session } from '../listener/session.ts';
import type { EventTrace } from '../telemetry/inspection.ts';
import type { CommandContext } from './context.ts';
import { traceScreen } from './trace-screen.ts';

const QUERY_TIMEOUT_MS = 10_000;

/** What became of one event: what the log says of it, and what the relay on this machine remembers. */
export interface Trace {
  readonly id: string;
  /** Null where the log has no such event (any more). */
  readonly event: TracedEvent | null;
  readonly log: LogStatus;
  /** Null where no relay of this machine answers. */
  readonly relay: EventTrace | null;
}

export interface TracedEvent {
  readonly type: string;
  readonly audience: readonly string[];
  /** Schema and table, or null for a message of the application's own. */
  readonly source: string | null;
  /** When the row was written, epoch ms. */
  readonly occurred_ms: number;
  readonly xid: string;
  /** The committed cursor sees it: delivered to all who should have it. */
  readonly delivered: boolean;
  readonly data_bytes: number;
}

/** @throws when the database cannot be reached */
export async function trace(context: CommandContext, id: string, options: { json: boolean }): Promise<void> {
  const { client } = await databaseAccess(context.database);
  const session = await Session.open({
    database: client,
    applicationName: 'rowcast trace',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  try {
    const log = await readLogStatus(session, context.consumer);
    const [event] = log.installed ? await session.query<TracedEvent>(EVENT, [id, context.consumer]) : [];
    const found: Trace = { id, event: event ?? null, log, relay: await context.inspector.trace(id) };
    context.terminal.print(
      options.json ? JSON.stringify(found) : traceScreen(found, context.terminal, context.inspector.where),
    );
  } finally {
    await session.close();
  }
}

/** $1 id, $2 consumer. Of a backlog that is delivered page by page, what lies up to after_id was delivered. */
const EVENT = `
  select e.type, e.audience, e.source, (extract(epoch from e.occurred_at) * 1000)::float8 as occurred_ms, e.xid::text,
    coalesce(octet_length(e.data::text), 0) as data_bytes,
    coalesce(pg_visible_in_snapshot(e.xid, c.snapshot) or pg_visible_in_snapshot(e.xid, c.until) and e.id <= c.after_id, false) as delivered
  from rowcast.event e left join rowcast.cursor c on c.consumer = $2
  where e.id = $1::bigint`;
