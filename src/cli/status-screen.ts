import { type InstalledLogStatus, type LogStatus, silenceOf } from '../log/log-status.ts';
import type { RelayStatus } from '../telemetry/inspection-api.ts';
import type { InspectionClient } from '../telemetry/inspection-client.ts';
import type { Pace } from '../telemetry/pace.ts';
import {
  clockTime,
  count,
  counted,
  dateTime,
  duration,
  size,
  type Terminal,
  wrap,
} from './terminal.ts';

const LABEL_COLUMNS = 14;
const PROBLEMS_SHOWN = 5;
const TABLES_SHOWN = 12;
const NAME_COLUMNS = 24;

/** The output of `rowcast status --json`. */
export interface Status {
  /** ISO 8601 */
  readonly at: string;
  /** Null where it cannot be asked. */
  readonly database: LogStatus | null;
  /** Why not. */
  readonly problem?: string;
  /** The relay on this machine; null where none answers. */
  readonly relay: RelayStatus | null;
}

/** A status as at most 80 columns of text. */
export function statusScreen(status: Status, { terminal, inspector, pace }: Screen): string {
  const paint: Paint = (style, text) => terminal.paint(style, text);
  const lines = (sections: Section[]) =>
    sections.flatMap(([label, texts]) =>
      texts.map((text, n) => {
        const head = (n === 0 ? label : '').padEnd(LABEL_COLUMNS);
        return `${head}${wrap(text, terminal.textColumns, LABEL_COLUMNS)}`;
      }),
    );
  const { database, relay, problem } = status;
  const none = `none answers at ${inspector.where}: connections, posts and errors are known to the relay alone; run this where it runs`;
  return [
    head(status, terminal),
    '',
    ...(database?.installed
      ? [
          ...lines(logSections(database, relay, pace, paint)),
          '',
          ...lines([['Watched', watchedLines(database, paint)]]),
        ]
      : [paint('red', database ? NOT_INSTALLED : `The database cannot be asked: ${problem}`)]),
    '',
    ...lines([['This relay', relay ? ownLines(relay, paint) : [paint('yellow', none)]]]),
  ].join('\n');
}

const NOT_INSTALLED = 'The schema rowcast is not there: run `rowcast migrate up`.';

function head({ at, database }: Status, terminal: Terminal): string {
  const title = database
    ? `Rowcast on ${database.database} (Postgres ${database.version})`
    : 'Rowcast';
  const time = dateTime(Date.parse(at));
  const gap = terminal.textColumns - title.length - time.length;
  return terminal.paint('bold', title) + (gap > 0 ? ' '.repeat(gap) : '\n') + time;
}

type Section = [label: string, texts: readonly string[]];

function logSections(
  database: InstalledLogStatus,
  relay: RelayStatus | null,
  pace: Pace | null,
  paint: Paint,
): Section[] {
  return [
    ['Relays', relayLines(database, paint)],
    ['Lag', lagLines(database, relay, pace, paint)],
    ['Log', [logLine(database)]],
    ['Transactions', holdingLines(database, paint)],
  ];
}

interface Screen {
  readonly terminal: Terminal;
  readonly inspector: InspectionClient;
  /** The pace of a shrinking backlog; null at the first look. */
  readonly pace: Pace | null;
}

type Paint = Terminal['paint'];

function relayLines({ relays, doorbellHolders }: InstalledLogStatus, paint: Paint): string[] {
  const lines = relays.map((relay) => {
    const { host, pid, leads, asleep, connectedSeconds, term } = relay;
    const role = leads ? paint('green', 'leader ') : 'standby';
    const silence = silenceOf(relay);
    const reading = asleep ? ', asleep' : ', awake';
    const does =
      silence === null
        ? leads && reading
        : paint('red', `, silent for ${duration(silence)}: frozen, or cut off`);
    const since = connectedSeconds === null ? '' : `, since ${duration(connectedSeconds)}`;
    const nth = term === null ? '' : `, term ${term}`;
    return `${role}  ${host}  (backend ${pid}${nth}${since})${does || ''}`;
  });
  if (!relays.some(({ leads }) => leads))
    lines.unshift(paint('red', 'no relay leads: nothing is delivered. Start one: rowcast start'));
  for (const { pid, role, application } of doorbellHolders)
    lines.push(
      paint(
        'yellow',
        `! pid ${pid} of role ${role} (${application || 'without a name'}) has the doorbell's lock and is no relay: rows are polled`,
      ),
    );
  return lines;
}

function lagLines(
  { lag, cursor }: InstalledLogStatus,
  relay: RelayStatus | null,
  pace: Pace | null,
  paint: Paint,
): string[] {
  if (!cursor)
    return [paint('red', 'rowcast.cursor has no row: was the schema restored without its data?')];
  if (!cursor.ours)
    return [
      paint(
        'red',
        'this database is a copy, and nothing is delivered from it: see `select rowcast.adopt()` in docs/operations.md',
      ),
    ];
  const waits =
    lag.backlog > lag.events
      ? `about ${counted(lag.backlog, 'event')}`
      : counted(lag.events, 'event');
  const colour = lag.seconds > 30 ? 'red' : lag.seconds > 5 ? 'yellow' : 'green';
  const oldest = lag.events > 0 ? `, the oldest for ${duration(lag.seconds)}` : '';
  const rate =
    pace?.etaSeconds === undefined
      ? ''
      : `, ${count(pace.perSecond)}/s, done in ${duration(pace.etaSeconds)}`;
  const term = relay?.term;
  const held =
    term && lag.events > 0
      ? `; ${counted(term.lanesWaiting, 'connection')} waiting, ${size(term.bytesInFlight)} in flight`
      : '';
  return [
    `${paint(colour, '●')} ${waits} to deliver${oldest}${rate}`,
    `  cursor committed ${duration(cursor.ageSeconds)} ago${held}`,
  ];
}

function logLine({ log, lag }: InstalledLogStatus): string {
  const span =
    log.spanSeconds === null
      ? 'empty'
      : `about ${counted(log.events, 'event')} of ${duration(log.spanSeconds)}`;
  return `${span}, ${size(log.bytes)} on disk; notification queue ${(lag.notificationQueueUsage * 100).toFixed(1)} % full`;
}

function holdingLines({ holding, hidden }: InstalledLogStatus, paint: Paint): string[] {
  const lines = holding.map(({ pid, name, role, state, ageSeconds, holdsDoorbell }) => {
    const who = pid === null ? `prepared ${name}` : `pid ${pid}${name ? ` ${name}` : ''}`;
    const holds = holdsDoorbell ? 'vacuum, and the relay awake' : 'vacuum';
    return `${paint('yellow', duration(ageSeconds))}  ${who} (${role}), ${state}: holds up ${holds}`;
  });
  if (hidden > 0)
    lines.push(
      `${counted(hidden, 'session')} of other roles cannot be seen: grant pg_read_all_stats`,
    );
  return lines.length > 0 ? lines : ['none is older than a minute'];
}

function watchedLines({ watched, dropped }: InstalledLogStatus, paint: Paint): string[] {
  const lost = dropped.map((entity) =>
    paint('yellow', `! the table of ${entity} was dropped, and is captured no more`),
  );
  if (watched.length === 0)
    return [...lost, paint('yellow', "nothing: select rowcast.watch('your_table')")];
  const width = Math.min(
    NAME_COLUMNS,
    Math.max(...watched.slice(0, TABLES_SHOWN).map(({ target }) => target.length)),
  );
  const lines = watched.slice(0, TABLES_SHOWN).map((table) => {
    const { target, audience, operations, problem, warning } = table;
    const what = `${target.padEnd(width)}  ${operations.join(', ')} → ${audience.join(', ')}`;
    if (problem) return `${paint('red', '✗')} ${what}: ${paint('red', problem)}`;
    return `${paint('green', '✓')} ${what}${warning ? paint('yellow', `: ${warning}`) : ''}`;
  });
  const more = watched.length - TABLES_SHOWN;
  return [...lost, ...lines, ...(more > 0 ? [`and ${counted(more, 'more table')}`] : [])];
}

/** Lines that only the relay itself can give. */
function ownLines(relay: RelayStatus, paint: Paint): string[] {
  const { term, connections, posts, problems } = relay;
  const { sinceMs, ...outcomes } = posts;
  const posted = Object.entries(outcomes).map(([outcome, n]) => `${count(n)} ${outcome}`);
  const age = connections.asOf
    ? `${duration(Math.max(0, (Date.now() - connections.asOf) / 1000))} old`
    : 'never read';
  const joining = term ? `, ${count(term.joining)} joining, ${count(term.behind)} behind` : '';
  const lines = [
    `${relay.role}, process ${relay.pid}, ${relay.ready ? paint('green', 'ready') : paint('red', 'not ready')}`,
    ...(relay.reasons ?? []).map((reason) => paint('red', `✗ ${reason}`)),
    `${counted(connections.known, 'connection')} of ${counted(connections.users, 'user')}${joining} (${connections.feed}, ${age})`,
  ];
  if (term) {
    lines.push(
      `posts in the last ${duration((Date.now() - sinceMs) / 1000)}: ${posted.join(', ') || 'none'}; ${count(term.postsPerSecond)}/s allowed`,
    );
    if (term.gatewayDown) lines.push(paint('red', '✗ the gateway does not answer; events wait'));
  }
  const last = problems
    .slice(-PROBLEMS_SHOWN)
    .map(
      ({ at, event, message }) =>
        `${paint('dim', `${clockTime(Date.parse(at)).slice(0, 8)}Z`)} ${paint('yellow', event)} ${message}`,
    );
  return [
    ...lines,
    ...(last.length > 0
      ? ['last warnings and errors:', ...last]
      : ['no warnings or errors so far']),
  ];
}
