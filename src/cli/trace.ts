import { CONSUMER } from '../log/cursor-store.ts';
import { installationOf, readLogStatus } from '../log/log-status.ts';
import { isDataError, salvage } from '../log/salvage.ts';
import { openSession } from '../postgres/access.ts';
import type { Session } from '../postgres/session.ts';
import type { CommandContext } from './context.ts';
import { printable } from './terminal.ts';
import { type Trace, type TracedEvent, traceScreen } from './trace-screen.ts';

const QUERY_TIMEOUT_MS = 10_000;
/** More than any frame holds. */
const MAX_BYTES = 131_072;

/** @returns whether the log has such an event. @throws when the database cannot be reached */
export async function trace(
  context: CommandContext,
  id: string,
  options: { json: boolean },
): Promise<boolean> {
  const found = await findTrace(context, id);
  context.terminal.print(options.json ? JSON.stringify(found) : screenOf(found, context));
  return found.event !== null;
}

/** For the page of `rowcast dev`. @throws as `trace` does */
export async function traceText(context: TraceContext, id: string): Promise<string> {
  return screenOf(await findTrace(context, id), context);
}

type TraceContext = Pick<CommandContext, 'database' | 'inspector' | 'terminal'>;

function screenOf(found: Trace, { terminal, inspector }: TraceContext): string {
  return traceScreen(printable(found), terminal, inspector.where);
}

async function findTrace({ database, inspector }: TraceContext, id: string): Promise<Trace> {
  const session = await openSession(database, {
    applicationName: 'rowcast trace',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  try {
    const log = await readLogStatus(session);
    const event = log.installed ? await readEvent(session, id) : undefined;
    return {
      id,
      event: event ?? null,
      log,
      relay: await inspector.trace(id, installationOf(log)),
    };
  } finally {
    await session.close();
  }
}

/** Its text is read as a relay reads it: what cannot be read is what a relay could not send. */
async function readEvent(session: Session, id: string): Promise<TracedEvent | undefined> {
  const [event] = await session.query<TracedEvent>(EVENT, [id, CONSUMER]);
  if (!event) return undefined;
  try {
    const [text] = await session.query<Pick<TracedEvent, 'type' | 'audience'>>(TEXT, [
      id,
      MAX_BYTES,
    ]);
    return text ? { ...event, type: text.type, audience: text.audience } : event;
  } catch (error) {
    if (!isDataError(error)) throw error;
    const { type, audience, problem } = await salvage(
      session,
      { id, xid: event.xid, timestamp: '' },
      MAX_BYTES,
    );
    return { ...event, type, audience, problem };
  }
}

/**
 * $1 id, $2 consumer. Of a backlog that is delivered page by page, what lies up to after_id was
 * delivered.
 */
const EVENT = `
  select '' as type, '{}'::text[] as audience, e.source, (extract(epoch from e.occurred_at) * 1000)::float8 as "occurredMs", e.xid::text,
    coalesce(octet_length(e.data::text), 0) as "dataBytes",
    coalesce(e.problem, (select w.problem from rowcast.watched w join pg_class c on c.oid = w.target join pg_namespace n on n.oid = c.relnamespace
      where n.nspname || '.' || c.relname = e.source limit 1)) as problem,
    coalesce(pg_visible_in_snapshot(e.xid, c.snapshot) or pg_visible_in_snapshot(e.xid, c.until) and e.id <= c.after_id, false) as delivered
  from rowcast.event e left join rowcast.cursor c on c.consumer = $2
  where e.id = $1::bigint`;

/** $1 id, $2 bytes of a larger row that are not read. */
const TEXT = `
  select left(e.type, 1000) as type, e.audience, case when pg_column_size(e.data) <= $2::int then e.data::text end as data,
    case when pg_column_size(e.old) <= $2::int then e.old::text end as old, e.key::text as key
  from rowcast.event e where e.id = $1::bigint and pg_column_size(e.audience) <= 1000000`;
