import type { InstalledLogStatus, LogStatus } from '../log/log-status.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { DeliveryTrace, EventTrace } from '../telemetry/inspection-api.ts';
import { clockTime, count, counted, duration, size, type Terminal, wrap } from './terminal.ts';

const SHOWN = 20;
const ATTEMPTS_SHOWN = 3;
const LABEL_COLUMNS = 11;

/**
 * One event as the log has it, and as the relay on this machine remembers it.
 */
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
  readonly occurredMs: number;
  readonly xid: string;
  /** The committed cursor sees it: delivered to all who should have it. */
  readonly delivered: boolean;
  readonly dataBytes: number;
  /**
   * Why it is not as it was written; else that of its table, where that is not captured as it
   * should be now.
   */
  readonly problem: string | null;
}

/** The way of one event, hop by hop, until where it went or why it went no further. */
export function traceScreen(
  { id, event, log, relay }: Trace,
  terminal: Terminal,
  inspector: string,
): string {
  const row = (label: string, text: string) =>
    `${label.padEnd(LABEL_COLUMNS)}${wrap(text, terminal.textColumns, LABEL_COLUMNS)}`;
  if (!log.installed)
    return terminal.paint('red', 'The schema rowcast is not there: run `rowcast migrate up`.');
  if (!event)
    return [`Event ${id}`, '', row('log', terminal.paint('red', '✗ ') + absent(id, log))].join(
      '\n',
    );
  const lines = [
    `${terminal.paint('bold', `Event ${id}`)}  ${event.type}`,
    '',
    row(
      'captured',
      `${new Date(event.occurredMs).toISOString().replace('T', ' ')} from ${event.source ?? 'rowcast.send()'}, ${size(event.dataBytes)}, transaction ${event.xid}`,
    ),
    row(
      'audience',
      event.audience.join(', ') ||
        terminal.paint(
          'red',
          `nobody: ${event.problem ?? 'the columns that its terms name were null'}`,
        ),
    ),
    ...(event.problem && event.audience.length > 0
      ? [row('problem', terminal.paint('yellow', event.problem))]
      : []),
    row('cursor', cursorLine(event, log, terminal)),
  ];
  if (!relay)
    lines.push(
      row(
        'relay',
        terminal.paint(
          'yellow',
          `none answers at ${inspector}: whom it reached is known to the relay alone; run this where it runs`,
        ),
      ),
    );
  else lines.push(...relayRows(event, relay, terminal).map(([label, text]) => row(label, text)));
  return lines.join('\n');
}

function absent(id: string, { log, watched }: InstalledLogStatus): string {
  if (BigInt(id) > BigInt(log.last ?? 0))
    return `no event ${id} yet: the newest is ${log.last ?? 'none'}`;
  const sick = watched
    .filter(({ problem }) => problem)
    .map(({ target, problem }) => `${target}: ${problem}`);
  const span = log.spanSeconds === null ? '' : ` of the last ${duration(log.spanSeconds)}`;
  const why = `no event ${id}: its transaction was rolled back or is still open, or retention has removed it. The log has about ${counted(log.events, 'event')}${span}.`;
  return sick.length > 0 ? `${why} Not captured now: ${sick.join('; ')}` : why;
}

function cursorLine(
  { delivered }: TracedEvent,
  { lag, relays }: InstalledLogStatus,
  terminal: Terminal,
): string {
  if (delivered) return `${terminal.paint('green', '✓')} has passed it: everybody has it`;
  const leads = relays.some((each) => each.leads);
  const why = leads
    ? `${counted(lag.events, 'event')} ${lag.events === 1 ? 'waits' : 'wait'}, the oldest for ${duration(lag.seconds)}`
    : 'no relay leads: start one with `rowcast start`';
  return `${terminal.paint('yellow', '…')} has not passed it: ${why}`;
}

function relayRows(event: TracedEvent, relay: EventTrace, terminal: Terminal): [string, string][] {
  const { dispatches, deliveries, outcomes } = relay;
  if (dispatches.length === 0 && deliveries.length === 0)
    return [['relay', unknown(event, relay, terminal)]];
  const rows = dispatches.map((dispatch): [string, string] => [
    'read',
    dispatchLine(dispatch, event, terminal),
  ]);
  if (deliveries.length > 0)
    rows.push([
      'outcome',
      Object.entries(outcomes)
        .map(([outcome, n]) => `${count(n)} ${outcome}`)
        .join(', '),
    ]);
  for (const delivery of deliveries.slice(0, SHOWN))
    rows.push(['', deliveryLine(delivery, event, terminal)]);
  const total = Object.values(outcomes).reduce((sum, n) => sum + n, 0);
  if (total > SHOWN) rows.push(['', `and ${count(total - SHOWN)} more`]);
  return rows;
}

function dispatchLine(
  dispatch: EventTrace['dispatches'][number],
  event: TracedEvent,
  terminal: Terminal,
): string {
  const { atMs, reached, connections, joining } = dispatch;
  const at = `${clockTime(atMs)} (${delay(event, atMs)} after it was written)`;
  const joins =
    joining > 0 ? `; ${counted(joining, 'connection')} joining, whose replays carry it` : '';
  if (reached > 0)
    return `${at}, for ${count(reached)} of ${counted(connections, 'connection')}${joins}`;
  const known = `${counted(connections, 'connection')} known then, and none of them is ${event.audience.join(' or ') || 'meant'}`;
  return joining > 0
    ? `${at}, for none that was live then${joins}`
    : terminal.paint('yellow', `${at}, for nobody: ${known}`);
}

function unknown(event: TracedEvent, { role, sinceMs }: EventTrace, terminal: Terminal): string {
  if (role !== 'leader')
    return terminal.paint(
      'yellow',
      `the one on this machine does not lead (${role}), and delivers nothing: ask the leader (rowcast status)`,
    );
  if (event.delivered || event.occurredMs < sinceMs)
    return `the one on this machine remembers since ${clockTime(sinceMs)}: it was before that, or another relay's`;
  return 'has not read it yet';
}

function deliveryLine(delivery: DeliveryTrace, event: TracedEvent, terminal: Terminal): string {
  const { connectionId, userId, terms, attempts, waiting } = delivery;
  const why = event.audience.filter((term) => terms.includes(term)).join(', ');
  const last = attempts.at(-1);
  const sign =
    last?.outcome.kind === 'delivered'
      ? terminal.paint('green', '✓')
      : terminal.paint(waiting ? 'yellow' : 'red', waiting ? '…' : '✗');
  const earlier =
    attempts.length > ATTEMPTS_SHOWN
      ? [`${counted(attempts.length - ATTEMPTS_SHOWN, 'try')} before`]
      : [];
  const tries = attempts
    .slice(-ATTEMPTS_SHOWN)
    .map(
      ({ atMs, tookMs, events, outcome }) =>
        `${clockTime(atMs)} ${outcomeText(outcome)} in ${tookMs.toFixed(0)} ms (+${delay(event, atMs)})${events > 1 ? `, with ${counted(events - 1, 'other')}` : ''}`,
    );
  const next = waiting && last ? ['waits for its next try'] : [];
  const tried = [...earlier, ...tries, ...next].join('; ');
  return `${sign} ${connectionId} of ${userId}, by ${why || 'a replay'}: ${tried || 'not posted yet'}`;
}

function outcomeText(outcome: PostOutcome): string {
  if (!('reason' in outcome)) return outcome.kind;
  return `${outcome.kind}${outcome.status ? ` ${outcome.status}` : ''} (${outcome.reason})`;
}

/** Since it was written. */
function delay({ occurredMs }: TracedEvent, atMs: number): string {
  const ms = Math.round(atMs - occurredMs);
  return ms < 10_000 ? `${ms} ms` : duration(ms / 1000);
}
