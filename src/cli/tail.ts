import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { pause, systemClock } from '../clock.ts';
import { errorText } from '../error-text.ts';
import { encodeEvent } from '../log/event-encoding.ts';
import { EventLog, type Position } from '../log/event-log.ts';
import type { LoggedEvent } from '../log/logged-event.ts';
import { Snapshot } from '../log/snapshot.ts';
import { openSession } from '../postgres/access.ts';
import type { Session } from '../postgres/session.ts';
import { formatCursor, installationTag } from '../protocol/cursor.ts';
import type { CommandContext } from './context.ts';
import { clockTime, printable } from './terminal.ts';

const POLL_MS = 100;
const QUERY_TIMEOUT_MS = 15_000;
const RETRY: Backoff = { baseMs: 200, capMs: 5000 };
const PAGE_ROWS = 500;
/** The largest frame: larger rows are shown by their key, as clients get them. */
const MAX_FRAME_BYTES = 131_072;

/**
 * Prints events as they are committed, until the signal aborts. Reads the log as a relay does, with
 * a cursor of its own: nothing is delivered, no doorbell is touched, and a connection that is lost
 * costs no event.
 * @throws when the database cannot be reached at first
 */
export async function tail(context: CommandContext, filter: TailFilter): Promise<void> {
  const { terminal, signal } = context;
  let position: Position | undefined;
  for (let failures = 0; !signal.aborted; ) {
    let session: Session | undefined;
    try {
      session = await openSession(context.database, {
        applicationName: 'rowcast tail',
        queryTimeoutMs: QUERY_TIMEOUT_MS,
      });
      const { tag, now } = await start(session);
      if (!position) context.note(`waiting for events${wanted(filter)}; Ctrl-C ends`);
      position ??=
        filter.sinceSeconds === null
          ? { snapshot: now }
          : await since(session, filter.sinceSeconds, now);
      const log = new EventLog({ session, pageRows: PAGE_ROWS, maxDataBytes: MAX_FRAME_BYTES });
      failures = 0;
      while (!signal.aborted) {
        const page = await log.read(position);
        const cursor = formatCursor(position.snapshot, tag);
        for (const event of page.events)
          if (matches(event, filter))
            terminal.print(
              filter.json
                ? encodeEvent(event, cursor, MAX_FRAME_BYTES).toString()
                : line(event, context),
            );
        position = page.next;
        await terminal.drained(signal);
        if (!page.more) await pause(systemClock, POLL_MS, signal);
      }
      await session.close();
    } catch (error) {
      session?.destroy();
      if (!position) throw error;
      context.note(`lost the database (${errorText(error)}); connecting again …`);
      await pause(systemClock, backoffDelayMs(systemClock, RETRY, ++failures), signal);
    }
  }
}

export interface TailFilter {
  /** `NEW_MESSAGE`, or with a star `NEW_*`; all without any. */
  readonly types: readonly string[];
  /** Terms, as they are: an event that has one of them is shown. */
  readonly audience: readonly string[];
  /** Whole frames, as a client would get them. */
  readonly json: boolean;
  /** Begins with the events of so long ago that the log still has; null begins now. */
  readonly sinceSeconds: number | null;
}

async function start(session: Session): Promise<{ tag: string; now: Snapshot }> {
  const [row] = await session.query<{ installation: string; now: string }>(
    'select id::text as installation, pg_current_snapshot()::text as now from rowcast.installation',
  );
  if (!row)
    throw new Error('rowcast.installation is empty: was the schema restored without its data?');
  return { tag: installationTag(row.installation), now: Snapshot.parse(row.now) };
}

/** Sees no transaction: every event of the log is new to it. */
const NOTHING = Snapshot.parse('3:3:');

/**
 * As a backlog up to now: what commits later follows it. The log is walked from its newest event
 * on, which costs those that are shown.
 */
async function since(session: Session, seconds: number, now: Snapshot): Promise<Position> {
  const [row] = await session.query<{ before: string | null; last: string | null }>(
    `select (select id from rowcast.event where occurred_at < clock_timestamp() - $1 * interval '1 second' order by id desc limit 1)::text as before,
       (select max(id) from rowcast.event)::text as last`,
    [seconds],
  );
  if (!row?.last) return { snapshot: now };
  return {
    snapshot: NOTHING,
    backlog: { until: now, afterId: row.before ?? '0', throughId: row.last },
  };
}

function wanted({ types, audience }: TailFilter): string {
  const named = [...types, ...audience];
  return named.length > 0 ? ` (${named.join(', ')})` : '';
}

function matches({ type, audience }: LoggedEvent, filter: TailFilter): boolean {
  const typed =
    filter.types.length === 0 ||
    filter.types.some((wanted) =>
      wanted.endsWith('*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted,
    );
  return (
    typed &&
    (filter.audience.length === 0 || filter.audience.some((term) => audience.includes(term)))
  );
}

/** As much of the data as a line has room for. */
function line(event: LoggedEvent, { terminal }: CommandContext): string {
  const { id, type, audience, timestamp } = event;
  const head = printable(
    `${clockTime(Number(timestamp))}  ${id}  ${type}  ${audience.join(',') || '(nobody)'}  `,
  );
  const json =
    event.data ??
    (event.key ? `${event.key} (its key only: too large for a frame, or withheld)` : '');
  const data = printable(json.replaceAll(/\s+/g, ' '));
  const room = Math.max(20, terminal.columns - head.length);
  const shown = terminal.interactive && data.length > room ? `${data.slice(0, room - 1)}…` : data;
  return `${terminal.paint('dim', head.slice(0, 13))}${head.slice(13)}${terminal.paint('cyan', shown)}`;
}
