import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BatchWriteCommand, DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pg from 'pg';
import { pino } from 'pino';
import { toItem } from '../src/connections/connection.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from '../src/local/dev-environment.ts';
import { createConnectionsTable, dynamoDbClient, startDynamoDb } from '../src/local/dynamodb.ts';
import { LocalPostgres } from '../src/local/postgres.ts';
import { migrate } from '../src/postgres/migrations.ts';
import { Daemon } from '../test/support/process/daemon.ts';
import { temporaryFolder } from '../test/support/process/temporary-folder.ts';
import { type Design, TABLES } from './designs.ts';
import { SinkProcess } from './sink-process.ts';

const TABLE = 'websocket_connections';
const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/**
 * A Postgres with one database a design, a DynamoDB with connections, a sink for the posts, and
 * relays in processes of their own.
 */
export class BenchSystem {
  readonly sink: SinkProcess;
  readonly dynamodbEndpoint: string;
  readonly #postgres: LocalPostgres;
  readonly #stops: (() => unknown)[];
  readonly #databases = new Map<Design, string>();

  private constructor(
    parts: { postgres: LocalPostgres; sink: SinkProcess; dynamodb: string },
    stops: (() => unknown)[],
  ) {
    this.#postgres = parts.postgres;
    this.sink = parts.sink;
    this.dynamodbEndpoint = parts.dynamodb;
    this.#stops = stops;
  }

  /** @param settings of Postgres, beside its defaults */
  static async start(settings: Record<string, string> = {}): Promise<BenchSystem> {
    const folder = await temporaryFolder('bench');
    const postgres = await LocalPostgres.start({
      dataDir: join(folder, 'data'),
      logFile: join(folder, 'log'),
      settings: { shared_buffers: '256MB', max_wal_size: '4GB', ...settings },
    });
    const dynamodb = await startDynamoDb();
    const sink = await SinkProcess.start();
    return new BenchSystem({ postgres, sink, dynamodb: dynamodb.endpoint }, [
      () => rm(folder, { recursive: true, force: true }),
      () => postgres.stop(),
      () => dynamodb.stop(),
      () => sink.stop(),
    ]);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
  }

  /** The database of a design, made when first asked for. */
  async database(design: Design): Promise<string> {
    const known = this.#databases.get(design);
    if (known) return known;
    await this.sql('postgres', `create database ${design}`);
    const url = this.#postgres.url(design);
    this.#databases.set(design, url);
    if (design === 'ours')
      await migrate(
        {
          database: { connectionString: url },
          log: pino({ level: 'silent' }),
          signal: new AbortController().signal,
        },
        { direction: 'up' },
      );
    await this.sql(design, TABLES[design]);
    return url;
  }

  /** Runs statements; @returns how long they took, ms */
  async sql(database: string, text: string): Promise<number> {
    const client = new pg.Client(this.#postgres.url(database));
    await client.connect();
    try {
      const began = performance.now();
      await client.query(text);
      return performance.now() - began;
    } finally {
      await client.end();
    }
  }

  /** Puts connections into the table, each of a user of its own. */
  async connect(count: number, options: { batch?: boolean } = {}): Promise<void> {
    const raw = dynamoDbClient(this.dynamodbEndpoint);
    const client = DynamoDBDocumentClient.from(raw);
    await createConnectionsTable(raw, TABLE);
    const now = Date.now();
    for (let first = 0; first < count; first += 25) {
      const puts = Array.from({ length: Math.min(25, count - first) }, (_, n) => ({
        PutRequest: {
          Item: toItem({
            connectionId: `${Buffer.from(`bench-${first + n}`).toString('base64url')}=`,
            userId: `user-${first + n}`,
            // Long ago: they are live at once, without a replay.
            connectedAt: now - 600_000,
            ttl: Math.floor(now / 1000) + 7200,
            ...options,
          }),
        },
      }));
      await client.send(new BatchWriteCommand({ RequestItems: { [TABLE]: puts } }));
    }
    raw.destroy();
  }

  /** The daemon, leading. */
  async ours(settings: Record<string, string> = {}): Promise<RunningRelay> {
    const environment = {
      ...(await this.#environment('ours')),
      POST_RPS_LIMIT: '1000000',
      ...settings,
    };
    // As it is in the image: `npm run bench` builds it first.
    const daemon = new Daemon(['start'], environment, {
      main: MAIN,
      cwd: fileURLToPath(new URL('..', import.meta.url)),
    });
    await daemon.logged('leading');
    return new RunningRelay(daemon.process.pid as number, async () => {
      daemon.process.kill('SIGTERM');
      await daemon.exited;
    });
  }

  /** plain-relay.ts, listening. */
  async plain(): Promise<RunningRelay> {
    const child = fork(new URL('plain-relay.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
      env: { ...process.env, NODE_NO_WARNINGS: '1', ...(await this.#environment('classic')) },
    });
    await once(child, 'message');
    return new RunningRelay(child.pid as number, async () => {
      child.kill();
      await once(child, 'exit');
    });
  }

  async #environment(design: Design): Promise<Record<string, string>> {
    return {
      DATABASE_URL: await this.database(design),
      WEBSOCKET_ENDPOINT: this.sink.url,
      CONNECTIONS_TABLE: TABLE,
      AWS_REGION: LOCAL_REGION,
      AWS_ENDPOINT_URL_DYNAMODB: this.dynamodbEndpoint,
      AWS_ACCESS_KEY_ID: LOCAL_CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: LOCAL_CREDENTIALS.secretAccessKey,
      DIRECTORY_REFRESH_MS: '30000',
      PORT: '0',
    };
  }
}

export class RunningRelay {
  readonly #pid: number;
  readonly stop: () => Promise<void>;

  constructor(pid: number, stop: () => Promise<void>) {
    this.#pid = pid;
    this.stop = stop;
  }

  /** Peak resident memory, MB. */
  async peakMemoryMb(): Promise<number> {
    const status = await readFile(`/proc/${this.#pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }
}
