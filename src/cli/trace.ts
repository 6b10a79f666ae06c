import { openSession } from '../database-session.ts';
import { CONSUMER } from '../listener/cursor-store.ts';
import { installationOf, readLogStatus } from '../listener/log-status.ts';
import { isDataError, salvage } from '../listener/salvage.ts';
import type { Session } from '../listener/session.ts';
import type { CommandContext } from './context.ts';
import { printable } from './terminal.ts';
import { type Trace, type TracedEvent, traceScreen } from './trace-screen.ts';

const QUERY_TIMEOUT_MS = 10_000;

/** @returns whether the log has such an event. @throws when the database cannot be reached */
export async function trace(context: CommandContext, id: string, options: { json: boolean }): Promise<boolean> {
  const session = await openSession(context.database, {
    applicationName: 'rowcast trace',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  try {
    const log = await readLogStatus(session);
    const event = log.installed ? await readEvent(session, id) : undefined;
    const found: Trace = {
      id,
      event: event ?? null,
      log,
      relay: await context.inspector.trace(id, installationOf(log)),
    };
    context.terminal.print(
      options.json ? JSON.stringify(found) : traceScreen(printable(found), context.terminal, context.inspector.where),
    );
    return found.event !== null;
  } finally {
    await session.close();
  }
}

/** An event whose text is of no encoding is read all the same: see listener/salvage.ts. */
async function readEvent(session: Session, id: string): Promise<TracedEvent | undefined> {
  try {
    return (await session.query<TracedEvent>(eventQuery('e.type, e.audience'), [id, CONSUMER]))[0];
  } catch (error) {
    if (!isDataError(error)) throw error;
    const [event] = await session.query<TracedEvent>(eventQuery(`'' as type, '{}'::text[] as audience`), [
      id,
      CONSUMER,
    ]);
    if (!event) return undefined;
    const { type, audience, problem } = await salvage(session, { id, xid: event.xid, timestamp: '' }, 0);
    return { ...event, type, audience, problem };
  }
}

/** $1 id, $2 consumer. Of a backlog that is delivered page by page, what lies up to after_id was delivered. */
const eventQuery = (text: string) => `
  select ${text}, e.source, (extract(epoch from e.occurred_at) * 1000)::float8 as "occurredMs", e.xid::text,
    coalesce(octet_length(e.data::text), 0) as "dataBytes",
    coalesce(e.problem, (select w.problem from rowcast.watched w where w.target = to_regclass(e.source))) as problem,
    coalesce(pg_visible_in_snapshot(e.xid, c.snapshot) or pg_visible_in_snapshot(e.xid, c.until) and e.id <= c.after_id, false) as delivered
  from rowcast.event e left join rowcast.cursor c on c.consumer = $2
  where e.id = $1::bigint`;
