import type { InstalledLogStatus } from '../listener/log-status.ts';
import { type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem } = findingsOf('relay');

const LATE_SECONDS = 30;
const OLD_TRANSACTION_SECONDS = 600;
/** Full, it fails every commit that notifies, in all databases of the server. */
const QUEUE_WARNING = 0.1;
const QUEUE_PROBLEM = 0.5;

/** Whether somebody delivers, and keeps up. */
export async function* relayFindings({ relays, lag, holding }: InstalledLogStatus, doorbell: boolean): Findings {
  const leader = relays.find(({ leads }) => leads);
  const standbys = relays.length - (leader ? 1 : 0);
  if (!leader)
    yield problem(
      'leader',
      `no relay leads${standbys ? `, and ${standbys} wait` : ''}; nothing is delivered`,
      'start one: rowcast start',
    );
  else
    yield ok(
      'leader',
      `${leader.host}${leader.asleep ? ', asleep until a row rings' : doorbell ? ', awake' : ', polling'}; ${standbys || 'no'} standby`,
    );
  const wait = `${lag.events >= 10_000 ? 'more than 10,000' : lag.events} events wait, the oldest for ${Math.round(lag.seconds)} s`;
  if (lag.seconds > LATE_SECONDS)
    yield problem(
      'lag',
      wait,
      leader ? 'rowcast status shows what holds them up; rowcast trace ID tells of one' : 'start a relay',
    );
  else yield ok('lag', lag.events === 0 ? 'everything is delivered' : wait);
  const used = lag.notificationQueueUsage;
  const queue = `${(used * 100).toFixed(1)} % full`;
  const fix = 'find the listener that is idle in a transaction (pg_stat_activity, oldest xact_start) and end it';
  if (used > QUEUE_PROBLEM) yield problem('notification queue', queue, fix);
  else if (used > QUEUE_WARNING) yield warning('notification queue', queue, fix);
  else yield ok('notification queue', queue);
  const [oldest] = holding;
  if (oldest && (oldest.age_s ?? 0) > OLD_TRANSACTION_SECONDS)
    yield warning(
      'old transactions',
      `${oldest.pid === null ? `prepared transaction ${oldest.name}` : `pid ${oldest.pid} (${oldest.name || oldest.role})`} has been open for ${Math.round((oldest.age_s ?? 0) / 60)} min: it keeps vacuum from freeing the log${oldest.holds_doorbell ? ', and the relay from sleeping' : ''}`,
      'let the application end it; select pg_terminate_backend(pid) does so from outside',
    );
  else yield ok('old transactions', 'none holds anything up');
}
