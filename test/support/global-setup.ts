import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { migrate } from '../../src/postgres/migrations.ts';
import { oldestBinaries } from './postgres/oldest.ts';
import { build } from './process/build.ts';
import { temporaryFolder } from './process/temporary-folder.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A superuser's URL to the maintenance database. */
    adminUrl: string;
    /** A database with all migrations applied, to make others from. */
    template: string;
  }
}

/**
 * One Postgres for the whole run: TEST_DATABASE_URL, else a container where Docker answers or
 * TEST_POSTGRES=docker asks for it, else the embedded one (TEST_POSTGRES_VERSION=14 for the
 * oldest). Each test file makes databases of its own from the template.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [server] = await Promise.all([startServer(), build()]);
  const template = `rowcast_template_${process.pid}`;
  const admin = new pg.Client(server.adminUrl);
  await admin.connect();
  await admin.query(`create database ${template}`);
  const templateUrl = Object.assign(new URL(server.adminUrl), { pathname: `/${template}` }).href;
  await migrate(
    {
      database: { connectionString: templateUrl },
      log: pino({ level: 'warn' }),
      signal: new AbortController().signal,
    },
    { direction: 'up' },
  );
  project.provide('adminUrl', server.adminUrl);
  project.provide('template', template);
  return async () => {
    // Nothing stays of a server of our own.
    if (server.shared) await dropAll(admin, template);
    await admin.end();
    await server.stop();
  };
}

/** The template, and the databases that tests made from it. */
async function dropAll(admin: pg.Client, template: string): Promise<void> {
  const { rows } = await admin.query<{ name: string }>(
    `select datname as name from pg_database where starts_with(datname, $1)`,
    [template],
  );
  for (const { name } of rows) await admin.query(`drop database ${name} with (force)`);
}

interface Server {
  readonly adminUrl: string;
  readonly shared?: boolean;
  stop(): Promise<void>;
}

async function startServer(): Promise<Server> {
  const { TEST_DATABASE_URL, TEST_POSTGRES, TEST_POSTGRES_VERSION = '18' } = process.env;
  if (TEST_DATABASE_URL)
    return { adminUrl: TEST_DATABASE_URL, shared: true, stop: async () => undefined };
  if (TEST_POSTGRES === 'docker' || (TEST_POSTGRES !== 'embedded' && (await dockerAnswers()))) {
    const { GenericContainer, Wait } = await import('testcontainers');
    const container = await new GenericContainer(`postgres:${TEST_POSTGRES_VERSION}`)
      .withEnvironment({ POSTGRES_PASSWORD: 'test' })
      .withCommand(['postgres', '-c', 'max_connections=300', '-c', 'max_prepared_transactions=10'])
      .withExposedPorts(5432)
      .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
      .start();
    return {
      adminUrl: `postgres://postgres:test@${container.getHost()}:${container.getMappedPort(5432)}/postgres`,
      stop: async () => void (await container.stop()),
    };
  }
  const folder = await temporaryFolder('test');
  const postgres = await LocalPostgres.start({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'log'),
    ...(TEST_POSTGRES_VERSION === '14' ? { binaries: oldestBinaries() } : {}),
    settings: { max_connections: '300', max_prepared_transactions: '10', fsync: 'off' },
  });
  return {
    adminUrl: postgres.url('postgres'),
    async stop() {
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function dockerAnswers(): Promise<boolean> {
  const { getContainerRuntimeClient } = await import('testcontainers');
  return getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
}
