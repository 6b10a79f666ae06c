import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pg from 'pg';
import { ConnectionStore } from '../../src/connections/connection-store.ts';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import { disconnectHandler } from '../../src/lambdas/disconnect.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from '../../src/local/dev-environment.ts';
import { createConnectionsTable, dynamoDbClient, startDynamoDb } from '../../src/local/dynamodb.ts';
import { LocalGateway } from '../../src/local/gateway.ts';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { FaultProxy } from '../support/gateway/fault-proxy.ts';
import { Daemon } from '../support/process/daemon.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import type { FaultySystem } from './faults.ts';
import { ROOM_BY_TABLE } from './memberships.ts';

const TABLE = 'websocket_connections';

/**
 * Everything real, with proxies where faults are made, and two relays in processes of their own.
 */
export async function startSystem(binaries?: string): Promise<ChaosSystem> {
  const folder = await temporaryFolder('chaos');
  const options = {
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'log'),
    ...(binaries ? { binaries } : {}),
  };
  let postgres = await LocalPostgres.start(options);
  const { port } = postgres;
  const adminUrl = postgres.url('postgres');
  const dynamodb = await startDynamoDb();
  const client = dynamoDbClient(dynamodb.endpoint);
  await createConnectionsTable(client, TABLE);
  const table = { client: DynamoDBDocumentClient.from(client), table: TABLE };
  const store = new ConnectionStore(table);
  const gateway = new LocalGateway({
    stage: 'chaos',
    table,
    connect: connectHandler({
      authenticator: new Authenticator({ mode: 'none' }),
      store,
      connectionTtlSeconds: 7200,
    }),
    disconnect: disconnectHandler({ store }),
  });
  await gateway.start();
  const posts = await FaultProxy.start(gateway.managementUrl);
  const postgresProxy = await TcpProxy.start({ host: '127.0.0.1', port });
  const dynamodbProxy = await TcpProxy.start({
    host: '127.0.0.1',
    port: Number(new URL(dynamodb.endpoint).port),
  });
  const relays = new Relays({
    DATABASE_URL: Object.assign(new URL(adminUrl), { host: `127.0.0.1:${postgresProxy.port}` })
      .href,
    WEBSOCKET_ENDPOINT: posts.url,
    AWS_REGION: LOCAL_REGION,
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${dynamodbProxy.port}`,
    AWS_ACCESS_KEY_ID: LOCAL_CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: LOCAL_CREDENTIALS.secretAccessKey,
    DIRECTORY_REFRESH_MS: '200',
    PORT: '0',
  });
  await Promise.race(relays.all().map((relay) => relay.logged('leading')));
  const admin = new pg.Client(adminUrl);
  await admin.connect();
  await admin.query(
    'create table chaos_row (id bigint generated always as identity primary key, key text, owner varchar(40), weight int)',
  );
  await admin.query(
    `select rowcast.watch('chaos_row', audience => '{user:<owner>}', columns => '{id,key,weight}')`,
  );
  await admin.query('create table chaos_member (user_id text primary key)');
  await admin.query(`select rowcast.rooms_from('chaos_member', 'user_id', '${ROOM_BY_TABLE}')`);
  await admin.query(`select rowcast.watch_presence('room:*')`);
  await admin.end();
  return {
    posts,
    postgresProxy,
    dynamodbProxy,
    adminUrl,
    relays,
    websocketUrl: gateway.websocketUrl,
    async restartPostgres() {
      await postgres.stop();
      postgres = await LocalPostgres.start({ ...options, port });
    },
    async stop() {
      await relays.stop();
      await gateway.stop();
      await posts.stop();
      await Promise.all([postgresProxy.stop(), dynamodbProxy.stop()]);
      await dynamodb.stop();
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Two relays, each started again when it ends, as ECS does. */
class Relays {
  readonly #env: Record<string, string>;
  readonly #running = new Set<Daemon>();
  #stopping = false;

  constructor(env: Record<string, string>) {
    this.#env = env;
    this.#launch();
    this.#launch();
  }

  all(): Daemon[] {
    return [...this.#running];
  }

  /** The relay that led last, if it runs; else any. */
  leader(): Daemon | undefined {
    const led = (relay: Daemon) =>
      relay.stdout
        .findLast((line) => /"event":"(leading|standby|database_lost)"/.test(line))
        ?.includes('"leading"');
    return this.all().find(led) ?? this.all()[0];
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.all().map((relay) => relay.kill()));
  }

  #launch(): void {
    const relay = new Daemon(['start'], this.#env);
    this.#running.add(relay);
    void relay.exited.then(async () => {
      this.#running.delete(relay);
      await setTimeout(500);
      if (!this.#stopping) this.#launch();
    });
  }
}

export interface ChaosSystem extends FaultySystem {
  readonly websocketUrl: string;
  stop(): Promise<void>;
}
