import { readdir } from 'node:fs/promises';
import { parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs, pause } from '../backoff.ts';
import { errorText } from '../error-text.ts';
import { connectionOptions, type Database, serverOf } from './servers.ts';

const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));
const RETRY: Backoff = { baseMs: 500, capMs: 10_000 };
const LOCK_NOT_AVAILABLE = '55P03';

/** `up` applies what is missing; `down` takes the newest `count` back. */
export type MigrationStep =
  | { readonly direction: 'up'; readonly count?: number }
  | { readonly direction: 'down'; readonly count: number };

/**
 * Runs the migrations in one transaction, under node-pg-migrate's lock: of relays that start together one
 * migrates and the others wait. Where a table of the user's is locked, it tries again instead of making
 * writers queue behind it.
 * @returns the names of the migrations that were run
 * @throws node-pg-migrate's error otherwise: the database is as it was
 */
export async function migrate(options: MigrateOptions, step: MigrationStep): Promise<string[]> {
  // node-pg-migrate alters its own table even then: a relay's own role may not, and does not need to.
  if (step.direction === 'up' && (await pendingMigrations(options.database)).pending.length === 0) return [];
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(options, step);
    } catch (error) {
      if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE || options.signal.aborted) throw error;
      options.log.warn(
        { event: 'migration_waits', attempt },
        'a watched table is locked by another transaction; trying again',
      );
      await pause(backoffDelayMs(RETRY, attempt), options.signal);
    }
  }
}

/** For MIGRATE_ON_START=false. @throws when the database cannot be reached or has no schema of ours */
export async function requireSchema(database: Database): Promise<void> {
  const client = await clientOf(database);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ exists: boolean }>(
      `select to_regclass('rowcast.event') is not null as exists`,
    );
    if (!rows[0]?.exists)
      throw new Error('it has no schema rowcast; run `rowcast migrate up`, or set MIGRATE_ON_START=true');
  } finally {
    await client.end();
  }
}

/** By name, in their order. @throws when the database cannot be reached */
export async function pendingMigrations(database: Database): Promise<{ applied: string[]; pending: string[] }> {
  const client = await clientOf(database);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const all = (await readdir(DIRECTORY)).map((file) => parse(file).name).sort();
    const { migrationsSchema, migrationsTable } = await recordedIn(client);
    const record = `${pg.escapeIdentifier(migrationsSchema)}.${pg.escapeIdentifier(migrationsTable)}`;
    const { rows: kept } = await client.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [
      record,
    ]);
    const { rows } = kept[0]?.exists
      ? await client.query<{ name: string }>(`select name from ${record}`)
      : { rows: [] };
    const done = new Set(rows.map(({ name }) => name));
    return { applied: all.filter((name) => done.has(name)), pending: all.filter((name) => !done.has(name)) };
  } finally {
    await client.end();
  }
}

async function runOnce(options: MigrateOptions, step: MigrationStep): Promise<string[]> {
  const client = await clientOf(options.database);
  client.on('error', (error) =>
    options.log.warn(
      { event: 'migration_connection_lost', error: errorText(error) },
      'lost the connection while migrating',
    ),
  );
  try {
    await client.connect();
    const migrations = await runner({
      dbClient: client,
      dir: DIRECTORY,
      direction: step.direction,
      ...(step.count === undefined ? {} : { count: step.count }),
      ...(await recordedIn(client)),
      singleTransaction: true,
      advisoryLockMode: 'wait',
      logger: quietLogger(options),
    });
    if (step.direction === 'down') await forgetRecordOfNothing(client);
    return migrations.map(({ name }) => name);
  } finally {
    await client.end();
  }
}

async function clientOf(database: Database): Promise<pg.Client> {
  return new pg.Client(connectionOptions(await serverOf(database), 'rowcast-migrate'));
}

/**
 * Where the applied migrations are recorded: in a table of our own, because node-pg-migrate's default table may be
 * the application's; in that one where `npx node-pg-migrate up` has recorded ours.
 */
async function recordedIn(
  client: pg.Client,
): Promise<{ migrationsTable: string; migrationsSchema: string; createMigrationsSchema: boolean }> {
  const { rows } = await client.query<{ exists: boolean }>(
    `select to_regclass('public.pgmigrations') is not null as exists`,
  );
  if (rows[0]?.exists) {
    const ours = await client.query(`select from public.pgmigrations where name = '0001_log'`);
    if (ours.rowCount)
      return { migrationsTable: 'pgmigrations', migrationsSchema: 'public', createMigrationsSchema: false };
  }
  return { migrationsTable: 'migrations', migrationsSchema: 'rowcast', createMigrationsSchema: true };
}

/** After the last `down` nothing of ours stays, the record included. */
async function forgetRecordOfNothing(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ empty: boolean }>(
    `select to_regclass('rowcast.migrations') is not null and to_regclass('rowcast.event') is null as empty`,
  );
  if (rows[0]?.empty) await client.query('drop table rowcast.migrations; drop schema rowcast;');
}

function quietLogger({ log, began }: MigrateOptions) {
  return {
    debug: (message: string) => log.debug({ event: 'migration' }, message),
    info: (message: string) => {
      const name = /^### MIGRATION (.+) \((UP|DOWN)\) ###$/.exec(message)?.[1];
      if (name) began?.(name);
      log.debug({ event: 'migration' }, message);
    },
    warn: (message: string) => log.warn({ event: 'migration' }, message),
    error: (message: string) => log.error({ event: 'migration' }, message),
  };
}

export interface MigrateOptions {
  readonly database: Database;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** A migration is run now; again from the first when a lock was not to be had. */
  began?(name: string): void;
}
