import { hostname } from 'node:os';
import {
  type InstalledLogStatus,
  installationOf,
  type RelaySession,
  silenceOf,
} from '../log/log-status.ts';
import type { RelayStatus } from '../telemetry/inspection-api.ts';
import { InspectionClient } from '../telemetry/inspection-client.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem, skipped } = findingsOf('relay');

const LATE_SECONDS = 30;
const OLD_TRANSACTION_SECONDS = 600;
/** Full, it fails every commit that notifies, in all databases of the server. */
const QUEUE_WARNING = 0.1;
const QUEUE_PROBLEM = 0.5;

/** Whether somebody delivers, and keeps up; and what the relay on this machine says of itself. */
export async function* relayFindings(
  status: InstalledLogStatus,
  settings: RelaySettings,
): Findings {
  const { relays, lag } = status;
  const leader = relays.find(({ leads }) => leads);
  const own = await ownStatus(status, settings);
  yield leaderFinding(leader, relays.length, settings, own);
  yield* ownFindings(own, leader);
  yield doorbellFinding(status, settings);
  const wait = `${lag.events >= 10_000 ? 'more than 10,000' : lag.events} events wait, the oldest for ${Math.round(lag.seconds)} s`;
  if (lag.seconds > LATE_SECONDS)
    yield problem(
      'lag',
      wait,
      leader
        ? 'rowcast status shows what holds them up; rowcast trace ID tells of one'
        : 'start a relay',
    );
  else yield ok('lag', lag.events === 0 ? 'everything is delivered' : wait);
  yield queueFinding(lag.notificationQueueUsage);
  yield transactionsFinding(status);
}

export interface RelaySettings {
  /** ROWCAST_DOORBELL */
  readonly doorbell: boolean;
  /** The port of the relay on this machine; null where the settings do not say. */
  readonly inspectPort: number | null;
}

async function ownStatus(
  status: InstalledLogStatus,
  { inspectPort }: RelaySettings,
): Promise<RelayStatus | null> {
  return inspectPort ? new InspectionClient(inspectPort).status(installationOf(status)) : null;
}

function leaderFinding(
  leader: RelaySession | undefined,
  relays: number,
  { doorbell }: RelaySettings,
  own: RelayStatus | null,
): Finding {
  const standbys = relays - (leader ? 1 : 0);
  if (!leader && own)
    return problem(
      'leader',
      'the relay on this machine runs and does not lead; nothing is delivered',
      'what keeps it from leading stands below',
    );
  if (!leader)
    return problem(
      'leader',
      `no relay leads${standbys ? `, and ${standbys} wait` : ''}; nothing is delivered`,
      'start one: rowcast start',
    );
  const silence = silenceOf(leader);
  if (silence !== null)
    return problem(
      'leader',
      `${leader.host} holds the lease and has been silent for ${Math.round(silence)} s: its process is frozen or its network is gone`,
      'a standby ends its connection after 12 s and takes over: start one, and end the frozen process',
    );
  const does = leader.asleep ? 'asleep until a row rings' : doorbell ? 'awake' : 'polling';
  return ok('leader', `${leader.host}, ${does}; ${standbys || 'no'} standby`);
}

/** Findings that only the relay here can make. */
function* ownFindings(
  own: RelayStatus | null,
  leader: RelaySession | undefined,
): Generator<Finding> {
  if (!own) {
    yield leader?.host === hostname()
      ? warning(
          'this relay',
          'it leads, by its host name, and does not answer here',
          'ROWCAST_INSPECT_PORT is that of another container or relay; or its process is frozen',
        )
      : skipped('this relay', 'none answers on this machine');
    return;
  }
  for (const reason of own.reasons ?? []) yield problem('this relay', reason);
  if (own.term?.gatewayDown)
    yield problem(
      'this relay',
      'the gateway does not answer its posts; events wait',
      'see group aws; post_failed in its log has the answers',
    );
  if (own.ready && !own.term?.gatewayDown)
    yield ok('this relay', `${own.role}, ready, knows ${own.connections.known} connections`);
}

function doorbellFinding(
  { doorbellHolders: [holder] }: InstalledLogStatus,
  { doorbell }: RelaySettings,
): Finding {
  if (!holder) return ok('doorbell lock', 'nobody but a relay has it');
  const who = `pid ${holder.pid} of role ${holder.role} (${holder.application || 'without a name'})`;
  return (doorbell ? problem : warning)(
    'doorbell lock',
    `${who} has it, or waits for it, and is no relay: nobody rings, and rows are polled ten times a second`,
    `select pg_terminate_backend(${holder.pid}); any role that may connect can take it again`,
  );
}

function queueFinding(used: number): Finding {
  const queue = `${(used * 100).toFixed(1)} % full`;
  const fix =
    'find the listener that is idle in a transaction (pg_stat_activity, oldest xact_start) and end it';
  if (used > QUEUE_PROBLEM) return problem('notification queue', queue, fix);
  return used > QUEUE_WARNING
    ? warning('notification queue', queue, fix)
    : ok('notification queue', queue);
}

function transactionsFinding({ holding, hidden }: InstalledLogStatus): Finding {
  const [oldest] = holding;
  if (oldest && oldest.ageSeconds > OLD_TRANSACTION_SECONDS) {
    const who =
      oldest.pid === null
        ? `prepared transaction ${oldest.name}`
        : `pid ${oldest.pid} (${oldest.name || oldest.role})`;
    const also = oldest.holdsDoorbell ? ', and the relay from sleeping' : '';
    return warning(
      'old transactions',
      `${who} has been open for ${Math.round(oldest.ageSeconds / 60)} min: it keeps vacuum from freeing the log${also}`,
      'let the application end it; select pg_terminate_backend(pid) does so from outside',
    );
  }
  return hidden > 0
    ? skipped(
        'old transactions',
        `${hidden} sessions of other roles hide how old they are: grant pg_read_all_stats`,
      )
    : ok('old transactions', `none is older than ${OLD_TRANSACTION_SECONDS / 60} min`);
}
