import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pg from 'pg';
import { ConnectionStore } from '../connections/connection-store.ts';
import { scanConnections, type TableReader } from '../connections/scan-feed.ts';
import { errorText } from '../error-text.ts';
import { Authenticator } from '../lambdas/authenticate.ts';
import { connectHandler } from '../lambdas/connect.ts';
import { disconnectHandler } from '../lambdas/disconnect.ts';
import { type ConnectSettings, loadConnectSettings } from '../lambdas/settings.ts';
import type { Service } from '../service.ts';
import type { DevFolder, DevUrls } from './dev-folder.ts';
import {
  createConnectionsTable,
  dynamoDbClient,
  LOCAL_ENVIRONMENT,
  startDynamoDb,
} from './dynamodb.ts';
import { LocalGateway } from './gateway.ts';
import { type PageOptions, PageServer } from './page-server.ts';
import { claimPorts } from './ports.ts';
import { LocalPostgres } from './postgres.ts';

const SERVICES = ['page', 'gateway', 'dynamodb', 'health', 'postgres', 'inspect'] as const;
const DATABASE = 'rowcast';
const RESTART_MS = 1000;
const SCAN_TIMEOUT_MS = 5000;

/**
 * `rowcast dev`: the whole system on this machine. Postgres, DynamoDB, the gateway with the real
 * Lambda handlers and the page run in or under this process; the relay is the real daemon in a
 * process of its own. Relay and Postgres are started again when they end, as ECS and RDS would.
 */
export class DevSystem implements Service {
  readonly #options: DevOptions;
  /** Started services, to be stopped in the reverse order. */
  readonly #started: { stop(): Promise<unknown> }[] = [];
  #relay: ChildProcess | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: DevOptions) {
    this.#options = options;
  }

  /**
   * Resolves when everything is ready and dev.json says where.
   * @throws naming a port that is taken
   */
  start(): Promise<void> {
    this.#starting ??= this.#startOnce();
    return this.#starting;
  }

  async #startOnce(): Promise<void> {
    if (this.#stopping) return;
    try {
      await this.#start();
    } catch (error) {
      // Stopped while it was starting: what failed, failed because of that.
      if (this.#stopping) return;
      await this.stop();
      throw error;
    }
  }

  /** Leaves the data, and nothing that runs. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #start(): Promise<void> {
    const lambdas = this.#lambdaSettings();
    const { folder } = this.#options;
    await this.#keep(folder.claim().then(() => ({ stop: () => folder.release() })));
    await LocalPostgres.stopLeftover(folder.path('postgres'));
    const ports = await claimPorts(SERVICES, this.#options.port);
    this.#options.print('starting Postgres, DynamoDB, gateway and relay …');
    const dynamodb = await this.#keep(startDynamoDb(ports.dynamodb));
    const postgres = await this.#startPostgres(ports.postgres);
    const databaseUrl = postgres.url(DATABASE);
    const isNew = await createDatabase(postgres.url('postgres'));
    const client = dynamoDbClient(dynamodb.endpoint);
    await createConnectionsTable(client, lambdas.table);
    const table = { client: DynamoDBDocumentClient.from(client), table: lambdas.table };
    const gateway = await this.#startGateway(lambdas, table, ports.gateway);
    const page = new PageServer({
      port: ports.page,
      websocketUrl: gateway.websocketUrl,
      databaseUrl,
      auth: lambdas.auth,
      trace: (eventId) => this.#options.trace(eventId, { databaseUrl, inspectPort: ports.inspect }),
      connections: connectionsOf(gateway, table),
    });
    await this.#keep(page.start().then(() => page));
    const healthUrl = `http://127.0.0.1:${ports.health}`;
    await this.#startRelay({
      DATABASE_URL: databaseUrl,
      WEBSOCKET_ENDPOINT: gateway.managementUrl,
      AWS_ENDPOINT_URL_DYNAMODB: dynamodb.endpoint,
      PORT: String(ports.health),
      ROWCAST_HOST: '127.0.0.1',
      ROWCAST_INSPECT_PORT: String(ports.inspect),
    });
    await this.#untilReady(healthUrl);
    if (isNew) await watchPresence(databaseUrl);
    const urls = {
      databaseUrl,
      websocketUrl: gateway.websocketUrl,
      managementUrl: gateway.managementUrl,
      dynamodbEndpoint: dynamodb.endpoint,
      pageUrl: page.url,
      healthUrl,
      inspectUrl: `http://127.0.0.1:${ports.inspect}`,
    };
    await folder.publish(urls);
    this.#announce(urls, lambdas.auth.mode);
  }

  /**
   * The Lambdas' own settings hold where they are given: JWT_SECRET=… npm run dev.
   * @throws with all that is wrong
   */
  #lambdaSettings(): ConnectSettings {
    const { env } = this.#options.relay;
    const mode = env.JWT_SECRET || env.JWKS_URL ? 'jwt' : 'none';
    return loadConnectSettings({ AUTH_MODE: mode, EXPLAIN_REFUSALS: 'on', ...env });
  }

  async #startGateway(
    { auth, connectionTtlSeconds, explainsRefusals }: ConnectSettings,
    table: TableReader,
    port: number,
  ): Promise<LocalGateway> {
    const store = new ConnectionStore(table);
    const gateway = new LocalGateway({
      stage: 'local',
      port,
      table,
      connect: connectHandler({
        authenticator: new Authenticator(auth),
        store,
        connectionTtlSeconds,
        explainsRefusals,
      }),
      disconnect: disconnectHandler({ store }),
    });
    await this.#keep(gateway.start().then(() => gateway));
    return gateway;
  }

  /** Started again when it ends: what was committed is there. */
  async #startPostgres(port: number): Promise<LocalPostgres> {
    const { folder, print } = this.#options;
    const options = {
      dataDir: folder.path('postgres'),
      logFile: folder.path('postgres.log'),
      port,
    };
    let running = LocalPostgres.start(options);
    const first = await running;
    await this.#keep(Promise.resolve({ stop: async () => (await running).stop() }));
    const watch = async (): Promise<void> => {
      for (;;) {
        await (await running).exited;
        if (this.#stopping) return;
        print(`Postgres ended; see ${folder.shown('postgres.log')}. Starting it again …`);
        await setTimeout(RESTART_MS);
        if (this.#stopping) return;
        running = LocalPostgres.start(options);
      }
    };
    watch().catch((error: unknown) =>
      print(`Postgres cannot be started again: ${errorText(error)}`),
    );
    return first;
  }

  async #startRelay(urls: Record<string, string>): Promise<void> {
    const { folder } = this.#options;
    const { command, args, env } = this.#options.relay;
    const log = openSync(folder.path('relay.log'), 'a');
    const settings = { DIRECTORY_REFRESH_MS: '200', ...env, ...LOCAL_ENVIRONMENT, ...urls };
    const launch = (): void => {
      // A group of its own: Ctrl-C in the terminal reaches this process, which stops the relay in
      // its turn. The channel ends when this process does, however that happens: then the relay
      // ends too.
      const relay = spawn(command, args, {
        env: settings,
        stdio: ['ignore', log, log, 'ipc'],
        detached: true,
      });
      this.#relay = relay;
      relay.once('exit', (code, signal) => {
        if (this.#stopping) return;
        this.#options.print(
          `the relay ended (${signal ?? `exit code ${code}`}); see ${folder.shown('relay.log')}. Starting it again …`,
        );
        void setTimeout(RESTART_MS).then(() => this.#stopping ?? launch());
      });
    };
    launch();
    this.#started.push({
      stop: async () => {
        const relay = this.#relay;
        if (relay && relay.exitCode === null && relay.signalCode === null && relay.kill('SIGTERM'))
          await once(relay, 'exit');
        closeSync(log);
      },
    });
  }

  async #untilReady(healthUrl: string): Promise<void> {
    while (!this.#stopping) {
      const ready = await fetch(`${healthUrl}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
      if (ready) return;
      if (this.#relay?.exitCode)
        throw new Error(
          `the relay did not start: ${(await readFile(this.#options.folder.path('relay.log'), 'utf8')).trim().split('\n').at(-1)}`,
        );
      await setTimeout(50);
    }
    throw new Error('stopped');
  }

  #announce(urls: DevUrls, auth: 'none' | 'jwt'): void {
    const { folder } = this.#options;
    const who =
      auth === 'none'
        ? '?userId=alice     (everybody is let in)'
        : '?token=…          (AUTH_MODE=jwt)';
    this.#options.print(`
  Rowcast is running.

  page       ${urls.pageUrl}
  WebSocket  ${urls.websocketUrl}${who}
  all URLs   ${folder.shown('dev.json')}
  logs       ${folder.shown('relay.log')}, ${folder.shown('postgres.log')}

  Insert a row and see it arrive:

  psql ${urls.databaseUrl} -c "insert into messages (sender, recipient, content) values ('alice', 'bob', 'hello')"

  Ctrl-C ends it; the data stays in ${folder.shown()}.
`);
  }

  async #stop(): Promise<void> {
    const errors: unknown[] = [];
    for (const service of this.#started.toReversed())
      await service.stop().catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw new AggregateError(errors);
  }

  async #keep<Service extends { stop(): Promise<unknown> }>(
    starting: Promise<Service>,
  ): Promise<Service> {
    const service = await starting;
    this.#started.push(service);
    if (this.#stopping) {
      await service.stop();
      throw new Error('stopped');
    }
    return service;
  }
}

/** The connections table, told again when the gateway has changed it. */
function connectionsOf(gateway: LocalGateway, from: TableReader): PageOptions['connections'] {
  return {
    list: () => scanConnections(from, Date.now(), AbortSignal.timeout(SCAN_TIMEOUT_MS)),
    onChange(listener) {
      const changes = ['connected', 'asked', 'disconnected'] as const;
      for (const change of changes) gateway.on(change, listener);
      return () => {
        for (const change of changes) gateway.off(change, listener);
      };
    },
  };
}

/** @returns whether there was none */
function createDatabase(adminUrl: string): Promise<boolean> {
  return connected(adminUrl, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [
      DATABASE,
    ]);
    if (!rowCount) await client.query(`create database ${DATABASE}`);
    return !rowCount;
  });
}

/** The page shows who is in its rooms. */
async function watchPresence(databaseUrl: string): Promise<void> {
  await connected(databaseUrl, (client) => client.query(`select rowcast.watch_presence('room:*')`));
}

async function connected<Result>(
  connectionString: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export interface DevOptions {
  /** First of six ports in a row, or 0 for free ones. */
  readonly port: number;
  readonly folder: DevFolder;
  /** How the daemon is started, and the environment it inherits. */
  readonly relay: {
    readonly command: string;
    readonly args: readonly string[];
    readonly env: NodeJS.ProcessEnv;
  };
  print(line: string): void;
  /** The way of an event, as `rowcast trace` prints it. */
  trace(eventId: string, of: { databaseUrl: string; inspectPort: number }): Promise<string>;
}
