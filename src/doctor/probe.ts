import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { setTimeout } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { WebSocket } from 'undici';
import type { Config } from '../config.ts';
import type { Connection } from '../connections/connection.ts';
import { scanConnections } from '../connections/scan-feed.ts';
import { databaseAccess } from '../database.ts';
import { Session } from '../listener/session.ts';
import { SUBPROTOCOL } from '../protocol/handshake.ts';
import { RelayInspector } from '../telemetry/relay-inspector.ts';
import { type Finding, type Findings, findingsOf, why } from './finding.ts';

const { ok, problem, skipped } = findingsOf('probe');
const STEP_TIMEOUT_MS = 15_000;
const LOOK_INTERVAL_MS = 100;

/** Where a client of the application would connect, and how. */
export interface ProbeTarget {
  /** `wss://…/stage`, with a query where one is needed. */
  readonly url: string;
  /** Sent as a subprotocol; null for none. */
  readonly token: string | null;
}

/**
 * Sends one event through the whole path: connects as a client, finds its own connection in the table, waits for READY, sends itself an
 * event (`connection:ID`, which reaches nobody else) and waits for its frame. Says how long each hop took, or which one it did not survive.
 */
export async function* probeFindings(target: ProbeTarget & { readonly config: Config }): Findings {
  const mark = `probe.${randomUUID()}`;
  const client = new ProbeClient(target, mark);
  try {
    const startedAt = performance.now();
    const refusal = await client.opened;
    if (refusal)
      return yield problem(
        'connect',
        refusal,
        'a token may be missing or wrong (--token sends one; docs/connect.md says what it needs), or the stage of the URL: API Gateway answers 403 Forbidden then',
      );
    yield ok('connect', `$connect let it in after ${since(startedAt)}`);
    const connection = await findConnection(target.config, mark);
    if (!connection)
      return yield problem(
        'stored',
        `its item is not in table ${target.config.connectionsTable}`,
        'CONNECTIONS_TABLE of the $connect Lambda and of the relay must be the same table, in the same Region',
      );
    yield ok('stored', `its item was in the table ${since(startedAt)} after it began`);
    if (!(await client.frame(({ type }) => type === 'READY')))
      return yield problem(
        'ready',
        `no READY within ${STEP_TIMEOUT_MS / 1000} s`,
        'no relay leads, or it reads another table; rowcast status tells',
      );
    yield ok('ready', `the relay knew it ${since(startedAt)} after it began`);
    yield* eventFindings(target, client, connection);
  } catch (error) {
    yield problem('probe', why(error));
  } finally {
    client.close();
  }
}

async function* eventFindings(
  target: ProbeTarget & { readonly config: Config },
  client: ProbeClient,
  connection: Connection,
): Findings {
  const sentAt = Date.now();
  const { id, committedAt } = await sendTo(connection.connectionId, target.config);
  yield ok('committed', `event ${id} in ${committedAt - sentAt} ms, connecting to Postgres included`);
  const frame = await client.frame((each) => each.id === id);
  if (!frame) return yield problem('received', `no frame within ${STEP_TIMEOUT_MS / 1000} s`, `rowcast trace ${id}`);
  yield await hopsFinding(new RelayInspector(target.config.inspectPort), id, committedAt);
  yield ok('received', `the frame arrived ${Math.max(0, frame.at - committedAt)} ms after the commit`);
}

/** What happened within the relay, where it runs on this machine. */
async function hopsFinding(inspector: RelayInspector, id: string, committedAt: number): Promise<Finding> {
  let trace = await inspector.trace(id);
  // The frame may arrive before the gateway's answer.
  for (let looks = 1; trace && trace.deliveries.length === 0 && looks < 10; looks++) {
    await setTimeout(LOOK_INTERVAL_MS);
    trace = await inspector.trace(id);
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
    `read ${Math.round(read - committedAt)} ms after the commit, posted in ${post.tookMs.toFixed(1)} ms`,
  );
}

async function sendTo(connectionId: string, { database }: Config): Promise<{ id: string; committedAt: number }> {
  const { client } = await databaseAccess(database);
  const session = await Session.open({
    database: client,
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
async function findConnection({ region, connectionsTable: table }: Config, mark: string): Promise<Connection | null> {
  const dynamodb = new DynamoDBClient({ region });
  const signal = AbortSignal.timeout(STEP_TIMEOUT_MS);
  try {
    while (!signal.aborted) {
      const all = await scanConnections({ client: DynamoDBDocumentClient.from(dynamodb), table }, Date.now(), signal);
      const own = all.find(({ cursor }) => cursor === mark);
      if (own) return own;
      await setTimeout(LOOK_INTERVAL_MS);
    }
    return null;
  } finally {
    dynamodb.destroy();
  }
}

interface ProbeFrame {
  readonly type?: string;
  readonly id?: string;
  /** Epoch ms. */
  readonly at: number;
}

/** A client that keeps what it gets. */
class ProbeClient {
  /** Resolves with why it was not let in, or null. */
  readonly opened: Promise<string | null>;
  readonly #socket: WebSocket;
  readonly #frames: ProbeFrame[] = [];
  #arrived: () => void = () => undefined;

  constructor({ url, token }: ProbeTarget, mark: string) {
    const target = new URL(url);
    target.searchParams.set('cursor', mark);
    this.#socket = new WebSocket(target, token ? [SUBPROTOCOL, token] : []);
    this.#socket.addEventListener('message', ({ data }) => {
      this.#frames.push({ ...(JSON.parse(String(data)) as object), at: Date.now() });
      this.#arrived();
    });
    this.opened = new Promise((resolve) => {
      this.#socket.addEventListener('open', () => resolve(null));
      this.#socket.addEventListener('error', () => void refusalOf(target, token).then(resolve));
    });
  }

  /** Null when none came in time. */
  async frame(wanted: (frame: ProbeFrame) => boolean): Promise<ProbeFrame | null> {
    const deadline = setTimeout(STEP_TIMEOUT_MS, null, { ref: false });
    for (;;) {
      const found = this.#frames.find(wanted);
      if (found) return found;
      const more = new Promise<true>((resolve) => {
        this.#arrived = () => resolve(true);
      });
      if (!(await Promise.race([more, deadline]))) return null;
    }
  }

  close(): void {
    this.#socket.close();
  }
}

/** A WebSocket does not say why it was refused: the same handshake again, by hand. */
function refusalOf(url: URL, token: string | null): Promise<string> {
  const secure = url.protocol === 'wss:' || url.protocol === 'https:';
  return new Promise((resolve) => {
    const handshake = (secure ? secureRequest : request)(
      Object.assign(new URL(url), { protocol: secure ? 'https:' : 'http:' }),
      {
        timeout: STEP_TIMEOUT_MS,
        headers: {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'cm93Y2FzdC1kb2N0b3ItMQ==',
          ...(token ? { 'sec-websocket-protocol': `${SUBPROTOCOL}, ${token}` } : {}),
        },
      },
    );
    handshake.on('response', async (response) => {
      const body = (await response.setEncoding('utf8').toArray()).join('').slice(0, 300);
      resolve(`refused with ${response.statusCode}: ${body.trim()}`);
    });
    handshake.on('upgrade', (_, socket) => {
      socket.destroy();
      resolve('the first handshake failed, and a second one did not: an unsteady network, or a proxy');
    });
    handshake.on('timeout', () => handshake.destroy(new Error(`no answer within ${STEP_TIMEOUT_MS / 1000} s`)));
    handshake.on('error', (error) => resolve(`cannot be reached: ${error.message}`));
    handshake.end();
  });
}

function since(startedAt: number): string {
  return `${Math.round(performance.now() - startedAt)} ms`;
}
