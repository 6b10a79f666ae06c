import { errorText } from '../error-text.ts';
import { type DatabaseSettings, openSession } from '../postgres/access.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem, skipped } = findingsOf('clocks');

const TIMEOUT_MS = 5000;
/**
 * A replay begins this much before `connectedAt` (position-history.ts, CLOCK_MARGIN_MS); an HTTP
 * date has whole seconds, and may be one off.
 */
const GATEWAY_OFF_MS = 3000;
const DATABASE_OFF_MS = 5000;

/** Whether this machine, the gateway and the database agree on what time it is. */
export async function* clockFindings(
  endpoint: string,
  database: DatabaseSettings | null,
): Findings {
  yield await gatewayClock(endpoint);
  if (database) yield await databaseClock(database);
}

async function gatewayClock(endpoint: string): Promise<Finding> {
  const startedAt = Date.now();
  let date: string | null;
  try {
    const response = await fetch(new URL(endpoint).origin, {
      method: 'HEAD',
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    date = response.headers.get('date');
  } catch (error) {
    return skipped('gateway', `its clock cannot be read: ${errorText(error)}`);
  }
  if (!date) return skipped('gateway', 'it does not say what time it is');
  // Half a second into the second that the header names, at half of the round trip.
  const offsetMs = Date.parse(date) + 500 - (startedAt + Date.now()) / 2;
  if (Math.abs(offsetMs) <= GATEWAY_OFF_MS)
    return ok('gateway', 'this machine and the gateway agree, within the second that HTTP tells');
  return problem(
    'gateway',
    `${apart(offsetMs, 'the gateway')}: clients that join may miss what was written in between, and from 5 minutes on posts are refused`,
    'let this machine follow a time server (chrony with 169.254.169.123 on AWS)',
  );
}

async function databaseClock(settings: DatabaseSettings): Promise<Finding> {
  try {
    const session = await openSession(settings, {
      applicationName: 'rowcast doctor',
      queryTimeoutMs: TIMEOUT_MS,
    });
    const startedAt = Date.now();
    const [row] = await session.query<{ now: number }>(
      'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now',
    );
    const offsetMs = (row?.now ?? 0) - (startedAt + Date.now()) / 2;
    await session.close();
    if (Math.abs(offsetMs) <= DATABASE_OFF_MS)
      return ok('database', `${Math.abs(Math.round(offsetMs))} ms apart from this machine`);
    return warning(
      'database',
      `${apart(offsetMs, 'the database')}: timestamps of frames, and latencies measured by them, are off by that`,
      'let both follow a time server',
    );
  } catch (error) {
    return skipped('database', `its clock cannot be read: ${errorText(error)}`);
  }
}

function apart(offsetMs: number, whose: string): string {
  return `${whose} is ${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine`;
}
