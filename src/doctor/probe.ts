import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { decodeJwt } from 'jose';
import { pause, systemClock } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import { scanConnections } from '../connections/scan-feed.ts';
import type { Config } from '../daemon/config.ts';
import { errorText } from '../error-text.ts';
import { openSession } from '../postgres/access.ts';
import { InspectionClient } from '../telemetry/inspection-client.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';
import { ProbeClient, STEP_TIMEOUT_MS } from './probe-client.ts';

const { ok, warning, problem, skipped } = findingsOf('probe');
const LATE_MS = 1000;
const LOOK_INTERVAL_MS = 100;

/** Where a client of the application would connect, and how. */
export interface ProbeTarget {
  /** `wss://…/stage`, with a query where one is needed. */
  readonly url: string;
  /** Sent as a subprotocol; null for none. */
  readonly token: string | null;
}

/**
 * Sends one event through the whole path: connects as a client, finds its own connection in the
 * table, waits for READY, sends itself an event (`connection:ID`, which reaches nobody else) and
 * waits for its frame. Says how long each hop took, or which one it did not survive.
 */
export async function* probeFindings(target: ProbeTarget & { readonly config: Config }): Findings {
  const { connectionsTable: table } = target.config;
  const mark = `probe.${randomUUID()}`;
  let client: ProbeClient | undefined;
  try {
    const startedAt = performance.now();
    client = new ProbeClient(target, mark);
    const refusal = await client.opened;
    if (refusal) return yield problem('connect', refusal.why, refusal.fix);
    yield ok('connect', `$connect let it in after ${since(startedAt)}`);
    if (target.token !== null && !hasEnd(target.token))
      yield warning(
        'token',
        'it has no exp: its connections last for CONNECTION_TTL_SECONDS, and whoever has it can come back for ever',
        'let your issuer put an end into its tokens (exp), minutes or hours ahead',
      );
    const connection = await findConnection(target.config, mark);
    if (!connection)
      return yield problem(
        'stored',
        `its item is not in table ${table}`,
        'CONNECTIONS_TABLE of the $connect Lambda and of the relay must be the same table, in the same Region; or this is no Rowcast API',
      );
    yield ok('stored', `its item was in the table ${since(startedAt)} after it began`);
    if (!(await client.frame(({ type }) => type === 'READY')))
      return yield problem(
        'ready',
        client.silence('READY'),
        'group relay tells whether one leads; else it reads another table',
      );
    yield ok('ready', `the relay knew it ${since(startedAt)} after it began`);
    yield* eventFindings(target, client, connection);
  } catch (error) {
    yield problem('connect', errorText(error), '--url is written wss://…/stage; --token is a JWT');
  } finally {
    client?.close();
  }
}

async function* eventFindings(
  target: ProbeTarget & { readonly config: Config },
  client: ProbeClient,
  connection: Connection,
): Findings {
  const sentAt = Date.now();
  const { id, committedAt } = await sendTo(connection.connectionId, target.config);
  yield ok(
    'committed',
    `event ${id} in ${committedAt - sentAt} ms, connecting to Postgres included`,
  );
  const frame = await client.frame((each) => each.id === id);
  if (!frame) return yield problem('received', client.silence('frame'), `rowcast trace ${id}`);
  yield await hopsFinding(new InspectionClient(target.config.inspectPort), id, committedAt);
  const tookMs = Math.max(0, frame.at - committedAt);
  const arrived = `the frame arrived ${tookMs} ms after the commit`;
  yield tookMs > LATE_MS
    ? warning(
        'received',
        arrived,
        'rowcast status shows what was before it: a backlog, or throttling',
      )
    : ok('received', arrived);
}

/** Whether a token says when it ends. */
function hasEnd(token: string): boolean {
  try {
    return decodeJwt(token).exp !== undefined;
  } catch {
    // `$connect` has let it in: it is another kind of token, of AUTH_MODE=none.
    return true;
  }
}

/** The way within the relay, where it runs on this machine. */
async function hopsFinding(
  inspector: InspectionClient,
  id: string,
  committedAt: number,
): Promise<Finding> {
  let trace = await inspector.trace(id, null);
  // The frame may arrive before the gateway's answer.
  for (let looks = 1; trace && !trace.deliveries[0]?.attempts.length && looks < 10; looks++) {
    await setTimeout(LOOK_INTERVAL_MS);
    trace = await inspector.trace(id, null);
  }
  const read = trace?.dispatches.at(-1)?.atMs;
  const post = trace?.deliveries[0]?.attempts.at(-1);
  if (read === undefined || !post)
    return skipped(
      'relay',
      `none on this machine (${inspector.where}) knows of it; run this beside the relay for its hops`,
    );
  return ok(
    'relay',
    `read ${Math.max(0, Math.round(read - committedAt))} ms after the commit, posted in ${post.tookMs.toFixed(1)} ms`,
  );
}

async function sendTo(
  connectionId: string,
  { database }: Config,
): Promise<{ id: string; committedAt: number }> {
  const session = await openSession(database, {
    applicationName: 'rowcast doctor',
    queryTimeoutMs: STEP_TIMEOUT_MS,
  });
  try {
    const [row] = await session.query<{ id: string }>(
      `select rowcast.send_to_connection($1, 'ROWCAST_PROBE', '{}')::text as id`,
      [connectionId],
    );
    return { id: row?.id ?? '', committedAt: Date.now() };
  } finally {
    await session.close();
  }
}

/** The item whose cursor is ours: `$connect` stores what a client presents as it is. */
async function findConnection(
  { region, connectionsTable: table }: Config,
  mark: string,
): Promise<Connection | null> {
  const dynamodb = new DynamoDBClient({ region });
  const signal = AbortSignal.timeout(STEP_TIMEOUT_MS);
  try {
    for (let waitMs = LOOK_INTERVAL_MS; !signal.aborted; waitMs *= 2) {
      const all = await scanConnections(
        { client: DynamoDBDocumentClient.from(dynamodb), table },
        Date.now(),
        signal,
      );
      const own = all.find(({ cursor }) => cursor === mark);
      if (own) return own;
      await pause(systemClock, waitMs, signal);
    }
    return null;
  } finally {
    dynamodb.destroy();
  }
}

function since(startedAt: number): string {
  return `${Math.round(performance.now() - startedAt)} ms`;
}
