import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import { ScanFeed } from '../../src/connections/scan-feed.ts';
import { loadConfig } from '../../src/daemon/config.ts';
import { relayDatabase } from '../../src/daemon/relay-database.ts';
import { GatewayClient } from '../../src/gateway/gateway-client.ts';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import { disconnectHandler } from '../../src/lambdas/disconnect.ts';
import type { AuthSettings } from '../../src/lambdas/settings.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from '../../src/local/dev-environment.ts';
import { LocalGateway, type LocalGatewayOptions } from '../../src/local/gateway.ts';
import { Exceptions } from '../../src/relay/exceptions.ts';
import { Relay } from '../../src/relay/relay.ts';
import type { DeliverySettings } from '../../src/relay/relay-events.ts';
import { TestClient } from './client/client.ts';
import { startTable, type TestTable } from './dynamodb/dynamodb.ts';
import { type Fault, FaultProxy } from './gateway/fault-proxy.ts';
import { TestDatabase } from './postgres/database.ts';
import type { Daemon } from './process/daemon.ts';
import { runDaemon } from './process/run-daemon.ts';

const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });

/**
 * Everything around a relay, all of it real: a database, a table, a gateway that runs the real
 * Lambda handlers, and a proxy before its callback API that can be told to fail. Stops by itself
 * when the test is over.
 */
export class World {
  readonly database: TestDatabase;
  readonly table: TestTable;
  readonly gateway: LocalGateway;
  /** Relays post through it. */
  readonly posts: FaultProxy;
  /** Longer than a busy machine takes for a post; shorter where a test waits for one that hangs. */
  postTimeoutMs = 20_000;
  /** The directory of the relay that was made last. */
  directory = new ConnectionDirectory();
  readonly #stops: (() => Promise<unknown>)[] = [];

  /** The callback API that relays are told. */
  readonly #callbackUrl: string;

  private constructor(
    world: Pick<World, 'database' | 'table' | 'gateway' | 'posts'>,
    callbackUrl: string,
  ) {
    this.database = world.database;
    this.table = world.table;
    this.gateway = world.gateway;
    this.posts = world.posts;
    this.#callbackUrl = callbackUrl;
  }

  /** @param options.callbackUrl another callback API than the gateway's */
  static async start(
    options: Partial<Omit<LocalGatewayOptions, 'table'>> & {
      table?: TestTable;
      callbackUrl?: string;
      auth?: AuthSettings;
    } = {},
  ): Promise<World> {
    const [database, table] = await Promise.all([
      TestDatabase.create(),
      options.table ?? startTable(),
    ]);
    const gateway = new LocalGateway({
      stage: 'test',
      table,
      connect: connectHandler({
        authenticator: new Authenticator(options.auth ?? { mode: 'none' }),
        store: table.store,
        connectionTtlSeconds: 7200,
      }),
      disconnect: disconnectHandler({ store: table.store }),
      ...options,
    });
    await gateway.start();
    const posts = await FaultProxy.start(gateway.managementUrl);
    const world = new World({ database, table, gateway, posts }, options.callbackUrl ?? posts.url);
    world.#stops.push(
      () => database.close(),
      () => (options.table ? Promise.resolve() : table.stop()),
      () => gateway.stop(),
      () => posts.stop(),
    );
    onTestFinished(() => world.stop());
    return world;
  }

  /** A relay in this process; resolves once it leads or stands by. */
  async relay(settings: Partial<DeliverySettings> = {}, databaseUrl?: string): Promise<Relay> {
    const relay = this.makeRelay(settings, databaseUrl);
    await relay.start();
    return relay;
  }

  /** The daemon in a process of its own. */
  daemon(env: Record<string, string> = {}): Daemon {
    return runDaemon(['start'], { ...this.environment(), ...env });
  }

  makeRelay(settings: Partial<DeliverySettings> = {}, databaseUrl = this.database.url): Relay {
    const defaults = loadConfig(this.environment());
    const gateway = new GatewayClient({
      endpoint: this.#callbackUrl,
      region: LOCAL_REGION,
      credentials: LOCAL_CREDENTIALS,
      maxSockets: 128,
      connectTimeoutMs: 2000,
      requestTimeoutMs: this.postTimeoutMs,
    });
    const directory = new ConnectionDirectory();
    this.directory = directory;
    const relay = new Relay({
      clock: systemClock,
      ...relayDatabase({ connectionString: databaseUrl }, log),
      directory,
      feed: new ScanFeed({ ...this.table, refreshIntervalMs: 50, sink: directory, log }),
      store: this.table.store,
      gateway,
      settings: { ...defaults.relay, ...settings },
      log,
    });
    this.#stops.push(async () => {
      await relay.stop();
      gateway.destroy();
    });
    return relay;
  }

  /** The environment of a daemon in a process of its own. */
  environment(): Record<string, string> {
    return {
      DATABASE_URL: this.database.url,
      WEBSOCKET_ENDPOINT: this.#callbackUrl,
      CONNECTIONS_TABLE: this.table.table,
      AWS_REGION: LOCAL_REGION,
      AWS_ENDPOINT_URL_DYNAMODB: this.table.endpoint,
      AWS_ACCESS_KEY_ID: LOCAL_CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: LOCAL_CREDENTIALS.secretAccessKey,
      DIRECTORY_REFRESH_MS: '50',
      PORT: '0',
    };
  }

  /** A client that is connected, and with a relay running will be READY. */
  async connect(query: Record<string, string> = {}): Promise<TestClient> {
    const client = new TestClient(
      `${this.gateway.websocketUrl}?${new URLSearchParams({ userId: 'someone', ...query })}`,
    );
    this.#stops.push(() => client.close());
    const status = await client.opened;
    if (status !== 101) throw new Error(`the connection was refused with ${status}`);
    return client;
  }

  /** A client that is live. */
  async live(query: Record<string, string> = {}): Promise<TestClient> {
    const client = await this.connect(query);
    await client.ready();
    return client;
  }

  /** The connection id of a user's connection. */
  async idOf(userId: string): Promise<string> {
    return String((await this.table.items()).find((item) => item.userId === userId)?.connectionId);
  }

  /** Posts to a user's connection are answered with the fault. @returns the connection's id */
  async failing(userId: string, fault: Fault): Promise<string> {
    const id = await this.idOf(userId);
    this.posts.fault = ({ method, connectionId }) =>
      method === 'POST' && connectionId === id ? fault : null;
    return id;
  }

  /** Posts to a user's connection wait until they are let pass, one by one. */
  async hold(userId: string): Promise<HeldPosts> {
    const id = await this.idOf(userId);
    const waiting: ((passed: null) => void)[] = [];
    this.posts.fault = ({ method, connectionId }) =>
      method === 'POST' && connectionId === id ? new Promise((pass) => waiting.push(pass)) : null;
    return {
      held: (count) => expect.poll(() => waiting.length).toBeGreaterThanOrEqual(count),
      async passOne(): Promise<void> {
        await expect.poll(() => waiting.length).toBeGreaterThan(0);
        waiting.shift()?.(null);
      },
    };
  }

  /** Posts pass again. */
  heal(): void {
    this.posts.fault = () => null;
  }

  /** How many events the committed cursor has passed. */
  async passed(): Promise<number> {
    const [row] = await this.sql<{ count: string }>(
      'select count(*) from rowcast.event e, rowcast.cursor c where pg_visible_in_snapshot(e.xid, c.snapshot)',
    );
    return Number(row?.count);
  }

  /** The connections that the committed row names. */
  async exceptions(): Promise<Exceptions> {
    const [row] = await this.sql<{ exceptions: string }>(
      'select exceptions::text from rowcast.cursor',
    );
    return Exceptions.parse(row?.exceptions as string);
  }

  /** Cuts every client off, as a network does: without a word. */
  cut(): void {
    for (const { socket } of this.gateway.connections.values()) socket?.terminate();
  }

  sql: TestDatabase['sql'] = (text, values) => this.database.sql(text, values);

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
  }
}

export interface HeldPosts {
  /** Resolves once so many wait. */
  held(count: number): Promise<void>;
  passOne(): Promise<void>;
}
