import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pg from 'pg';
import { ConnectionStore } from '../connections/connection-store.ts';
import { Authenticator } from '../lambdas/authenticate.ts';
import { connectHandler } from '../lambdas/connect.ts';
import { disconnectHandler } from '../lambdas/disconnect.ts';
import { type ConnectSettings, loadConnectSettings } from '../lambdas/settings.ts';
import { createConnectionsTable, dynamoDbClient, LOCAL_ENVIRONMENT, startDynamoDb } from './dynamodb.ts';
import { LocalGateway } from './gateway.ts';
import { PageServer } from './page-server.ts';
import { claimPorts } from './ports.ts';
import { LocalPostgres } from './postgres.ts';

const SERVICES = ['page', 'gateway', 'dynamodb', 'health', 'postgres', 'inspect'] as const;
const DATABASE = 'rowcast';
const RELAY_RESTART_MS = 1000;

/**
 * `rowcast dev`: the whole system on this machine. Postgres, DynamoDB, the gateway with the real Lambda handlers
 * and the page run in or under this process; the relay is the real daemon in a process of its own, started
 * again when it dies, as ECS would.
 */
export class DevSystem {
  readonly #options: DevOptions;
  readonly #dir: string;
  /** What was started, to be stopped in the reverse order. */
  readonly #started: { stop(): Promise<unknown> }[] = [];
  #relay: ChildProcess | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: DevOptions) {
    this.#options = options;
    this.#dir = resolve(options.dir);
  }

  /** Resolves when everything is ready and dev.json says where. @throws naming a port that is taken */
  async start(): Promise<void> {
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
    const ports = await claimPorts(SERVICES, this.#options.port);
    await mkdir(this.#dir, { recursive: true });
    await this.#claimDir();
    this.#options.print('starting Postgres, DynamoDB, gateway and relay …');
    const dynamodb = await this.#keep(startDynamoDb(ports.dynamodb));
    const postgres = await this.#keep(
      LocalPostgres.start({
        dataDir: join(this.#dir, 'postgres'),
        logFile: join(this.#dir, 'postgres.log'),
        port: ports.postgres,
      }),
    );
    const databaseUrl = postgres.url(DATABASE);
    await createDatabase(postgres.url('postgres'));
    const gateway = await this.#startGateway(lambdas, dynamodb.endpoint, ports.gateway);
    const page = new PageServer({
      port: ports.page,
      websocketUrl: gateway.websocketUrl,
      databaseUrl,
      auth: lambdas.auth,
    });
    await this.#keep(page.start().then(() => page));
    const healthUrl = `http://127.0.0.1:${ports.health}`;
    await this.#startRelay({
      DATABASE_URL: databaseUrl,
      WEBSOCKET_ENDPOINT: gateway.managementUrl,
      AWS_ENDPOINT_URL_DYNAMODB: dynamodb.endpoint,
      PORT: String(ports.health),
      ROWCAST_INSPECT_PORT: String(ports.inspect),
    });
    await this.#untilReady(healthUrl);
    const urls = {
      databaseUrl,
      websocketUrl: gateway.websocketUrl,
      managementUrl: gateway.managementUrl,
      dynamodbEndpoint: dynamodb.endpoint,
      pageUrl: page.url,
      healthUrl,
      inspectUrl: `http://127.0.0.1:${ports.inspect}`,
    };
    // Whoever waits for the file must not find half of it.
    await writeFile(join(this.#dir, 'dev.json.new'), `${JSON.stringify(urls, null, 2)}\n`);
    await rename(join(this.#dir, 'dev.json.new'), join(this.#dir, 'dev.json'));
    this.#announce(urls, lambdas.auth.mode);
  }

  /** The Lambdas' own settings hold where they are given: JWT_SECRET=… npm run dev. @throws with all that is wrong */
  #lambdaSettings(): ConnectSettings {
    const { env } = this.#options.relay;
    const mode = env.JWT_SECRET || env.JWKS_URL ? 'jwt' : 'none';
    return loadConnectSettings({ AUTH_MODE: mode, ...env });
  }

  async #startGateway(settings: ConnectSettings, dynamodbEndpoint: string, port: number): Promise<LocalGateway> {
    const { auth, table, connectionTtlSeconds } = settings;
    const client = dynamoDbClient(dynamodbEndpoint);
    await createConnectionsTable(client, table);
    const store = new ConnectionStore({ client: DynamoDBDocumentClient.from(client), table });
    const gateway = new LocalGateway({
      stage: 'local',
      port,
      connect: connectHandler({ authenticator: new Authenticator(auth), store, connectionTtlSeconds }),
      disconnect: disconnectHandler({ store }),
    });
    await this.#keep(gateway.start().then(() => gateway));
    return gateway;
  }

  async #startRelay(urls: Record<string, string>): Promise<void> {
    const { command, args, env } = this.#options.relay;
    const log = openSync(join(this.#dir, 'relay.log'), 'a');
    const settings = { DIRECTORY_REFRESH_MS: '200', ...env, ...LOCAL_ENVIRONMENT, ...urls };
    const launch = (): void => {
      // A group of its own: Ctrl-C in the terminal reaches this process, which stops the relay in its turn.
      const relay = spawn(command, args, { env: settings, stdio: ['ignore', log, log], detached: true });
      this.#relay = relay;
      relay.once('exit', (code, signal) => {
        if (this.#stopping) return;
        this.#options.print(
          `the relay ended (${signal ?? `exit code ${code}`}); see ${this.#path('relay.log')}. Starting it again …`,
        );
        void setTimeout(RELAY_RESTART_MS).then(() => this.#stopping ?? launch());
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
          `the relay did not start: ${(await readFile(join(this.#dir, 'relay.log'), 'utf8')).trim().split('\n').at(-1)}`,
        );
      await setTimeout(50);
    }
    throw new Error('stopped');
  }

  #announce(urls: Record<'databaseUrl' | 'websocketUrl' | 'pageUrl', string>, auth: 'none' | 'jwt'): void {
    const who = auth === 'none' ? '?userId=alice     (everybody is let in)' : '?token=…          (AUTH_MODE=jwt)';
    this.#options.print(`
  Rowcast is running.

  page       ${urls.pageUrl}
  WebSocket  ${urls.websocketUrl}${who}
  all URLs   ${this.#path('dev.json')}
  logs       ${this.#path('relay.log')}, ${this.#path('postgres.log')}

  Insert a row and see it arrive:

  psql ${urls.databaseUrl} -c "insert into messages (sender, recipient, content) values ('alice', 'bob', 'hello')"

  Ctrl-C ends it; the data stays in ${this.#path('')}.
`);
  }

  async #stop(): Promise<void> {
    const errors: unknown[] = [];
    for (const service of this.#started.toReversed())
      await service.stop().catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw new AggregateError(errors);
  }

  async #keep<Service extends { stop(): Promise<unknown> }>(starting: Promise<Service>): Promise<Service> {
    const service = await starting;
    this.#started.push(service);
    if (this.#stopping) {
      await service.stop();
      throw new Error('stopped');
    }
    return service;
  }

  /** One system a folder: its data cannot be served twice. */
  async #claimDir(): Promise<void> {
    const pidFile = join(this.#dir, 'dev.pid');
    const pid = existsSync(pidFile) ? Number(await readFile(pidFile, 'utf8')) : 0;
    if (pid && pid !== process.pid && isAlive(pid)) {
      throw new Error(
        `rowcast dev runs already for ${this.#dir}, as process ${pid}; stop it, or choose another folder with --dir`,
      );
    }
    await writeFile(pidFile, String(process.pid));
    this.#started.push({
      stop: () => Promise.all([rm(pidFile, { force: true }), rm(join(this.#dir, 'dev.json'), { force: true })]),
    });
  }

  #path(file: string): string {
    return join(relative(process.cwd(), this.#dir) || '.', file);
  }
}

async function createDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
  if (!rowCount) await client.query(`create database ${DATABASE}`);
  await client.end();
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export interface DevOptions {
  /** First of six ports in a row, or 0 for free ones. */
  readonly port: number;
  readonly dir: string;
  /** How the daemon is started, and the environment it inherits. */
  readonly relay: { readonly command: string; readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv };
  print(line: string): void;
}
