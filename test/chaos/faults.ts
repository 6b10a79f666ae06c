import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import type { FaultProxy } from '../support/gateway/fault-proxy.ts';
import type { TcpProxy } from '../support/tcp-proxy.ts';

/** Faults of a system, each with its end. The plan is drawn from a seed. */
export const FAULTS: Readonly<Record<string, (system: FaultySystem) => Promise<void>>> = {
  'kill -9 the leader': async ({ relays }) => relays.leader()?.kill(),
  'SIGTERM the leader': async ({ relays }) => void relays.leader()?.process.kill('SIGTERM'),
  'kill -9 every relay': async ({ relays }) =>
    void (await Promise.all(relays.all().map((relay) => relay.kill()))),
  'freeze the leader': async ({ relays }) => {
    const leader = relays.leader();
    leader?.process.kill('SIGSTOP');
    await setTimeout(14_000);
    leader?.process.kill('SIGCONT');
  },
  'terminate every backend of the relays': (system) =>
    asAdmin(
      system,
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowcast %'`,
    ),
  'restart Postgres': ({ restartPostgres }) => restartPostgres(),
  'half-open connections to Postgres': async ({ postgresProxy }) => postgresProxy.freeze(),
  'half-open connections to DynamoDB': async ({ dynamodbProxy }) => dynamodbProxy.freeze(),
  'gateway: 429': (system) => answer(system, { status: 429 }),
  'gateway: 500': (system) => answer(system, { status: 500 }),
  'gateway: 503': (system) => answer(system, { status: 503 }),
  'gateway: reset': (system) => answer(system, 'reset'),
  'gateway: hang': (system) => answer(system, 'hang'),
  'one client is throttled': (system) => throttleOne(system, () => setTimeout(5000)),
  'one client is throttled until it is closed': (system) =>
    throttleOne(system, () => setTimeout(35_000)),
  'kill -9 the leader while a client is behind': (system) =>
    throttleOne(system, async () => {
      await setTimeout(2000 + (system.posts.posts % 3) * 700);
      await system.relays.leader()?.kill();
      await setTimeout(1500);
    }),
  'SIGTERM the leader while a client is behind': (system) =>
    throttleOne(system, async () => {
      await setTimeout(2000);
      system.relays.leader()?.process.kill('SIGTERM');
      await setTimeout(3000);
    }),
  'everybody is disconnected': (system) => asAdmin(system, `select rowcast.disconnect('all')`),
  'the types of columns change': changeColumnTypes,
  'gateway: every third post fails': async ({ posts }) => {
    posts.fault = () => (posts.posts % 3 === 0 ? { status: 500 } : null);
    await setTimeout(3000);
    posts.fault = () => null;
  },
};

async function asAdmin({ adminUrl }: FaultySystem, sql: string): Promise<void> {
  const admin = new pg.Client(adminUrl);
  await admin.connect();
  await admin.query(sql);
  await admin.end();
}

/**
 * 429 for the connection that is posted to first, while everybody else is served.
 * @param until what happens meanwhile
 */
async function throttleOne({ posts }: FaultySystem, until: () => Promise<unknown>): Promise<void> {
  let victim: string | undefined;
  posts.fault = ({ method, connectionId }) => {
    if (method === 'POST') victim ??= connectionId;
    return connectionId === victim ? { status: 429 } : null;
  };
  await until();
  posts.fault = () => null;
}

/** As a migration does it: it gives up where writers hold the table, and tries again. */
async function changeColumnTypes({ adminUrl }: FaultySystem): Promise<void> {
  const admin = new pg.Client(adminUrl);
  admin.on('error', () => undefined);
  try {
    await admin.connect();
    await admin.query('set lock_timeout = 300');
    for (let tries = 0; tries < 20; tries++) {
      const [owner, weight] = tries % 2 === 0 ? ['text', 'bigint'] : ['varchar(40)', 'int'];
      const done = await admin
        .query(
          `alter table chaos_row alter column owner type ${owner}, alter column weight type ${weight}`,
        )
        .catch(() => null);
      if (done && tries > 0) return;
      await setTimeout(100);
    }
  } finally {
    await admin.end().catch(() => undefined);
  }
}

async function answer(
  { posts }: FaultySystem,
  fault: ReturnType<FaultProxy['fault']>,
): Promise<void> {
  posts.fault = () => fault;
  await setTimeout(2000);
  posts.fault = () => null;
}

export interface FaultySystem {
  readonly posts: FaultProxy;
  readonly postgresProxy: TcpProxy;
  readonly dynamodbProxy: TcpProxy;
  /** Past the proxy. */
  readonly adminUrl: string;
  readonly relays: { all(): RelayProcess[]; leader(): RelayProcess | undefined };
  restartPostgres(): Promise<void>;
}

export interface RelayProcess {
  readonly process: { kill(signal: NodeJS.Signals): boolean };
  kill(): Promise<void>;
}
