import { readdir } from 'node:fs/promises';
import { parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { pause, systemClock } from '../clock.ts';
import { errorText } from '../error-text.ts';
import { connectionOptions, type Database, serverOf } from './servers.ts';

const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));
const RETRY: Backoff = { baseMs: 500, capMs: 10_000 };
const LOCK_NOT_AVAILABLE = '55P03';
/** unique_violation of a catalog, duplicate_schema, duplicate_table, undefined_table. */
const MADE_MEANWHILE = ['23505', '42P06', '42P07', '42P01'];

/** `up` applies what is missing; `down` takes the newest `count` back. */
export type MigrationStep =
  | { readonly direction: 'up'; readonly count?: number }
  | { readonly direction: 'down'; readonly count: number };

/**
 * Runs the migrations in one transaction, under a lock on the record of them: of relays that start
 * together one migrates and the others wait. (node-pg-migrate's own lock is an advisory one, which
 * any role that may connect could hold for ever.) Where a table of the user's is locked, it tries
 * again instead of making writers queue behind it.
 * @returns the names of the migrations that were run
 * @throws node-pg-migrate's error otherwise: the database is as it was
 */
export async function migrate(options: MigrateOptions, step: MigrationStep): Promise<string[]> {
  if (step.direction === 'up') {
    const found = await pendingMigrations(options.database);
    // node-pg-migrate alters its own table even then: a relay's own role may not, and does not need
    // to.
    if (found.pending.length === 0 && found.installed) return [];
    const problem = recordProblem(found);
    if (problem) throw new Error(problem);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(options, step);
    } catch (error) {
      if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE || options.signal.aborted)
        throw error;
      options.log.warn(
        { event: 'migration_waits', attempt },
        'a watched table is locked by another transaction; trying again',
      );
      await pause(systemClock, backoffDelayMs(systemClock, RETRY, attempt), options.signal);
    }
  }
}

/**
 * For MIGRATE_ON_START=false.
 * @throws when the database cannot be reached or has no schema of ours
 */
export async function requireSchema(database: Database): Promise<void> {
  const client = await clientOf(database);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ exists: boolean }>(
      `select to_regclass('rowcast.event') is not null as exists`,
    );
    if (!rows[0]?.exists)
      throw new Error(
        'it has no schema rowcast; run `rowcast migrate up`, or set MIGRATE_ON_START=true',
      );
  } finally {
    await client.end();
  }
}

/** Says why the migrations cannot be applied, and the way out; null where they can. */
export function recordProblem({ applied, pending, installed }: RecordedMigrations): string | null {
  if (installed && applied.length === 0)
    return 'the schema rowcast is there, and no migration of it is recorded: it was restored without its data. To install anew: drop schema rowcast cascade; then rowcast migrate up, and rowcast.watch() for each of your tables';
  if (!installed && applied.length > 0)
    return 'migrations are recorded as applied, and the tables of the schema rowcast are not there. To install anew: drop schema if exists rowcast cascade; delete from public.pgmigrations where it names them; then rowcast migrate up';
  const last = applied.at(-1) ?? '';
  const [missing] = pending;
  if (missing !== undefined && missing < last)
    return `the record of migrations has a gap: ${last} is recorded as applied, and ${missing} before it is not. Where its objects are there, record it (insert into rowcast.migrations (name, run_on) values ('${missing}', now())); else take the schema down: drop schema rowcast cascade; then rowcast migrate up`;
  return null;
}

export interface RecordedMigrations {
  /** By name, in their order. */
  readonly applied: string[];
  readonly pending: string[];
  /** The tables are there. */
  readonly installed: boolean;
}

/** @throws when the database cannot be reached */
export async function pendingMigrations(database: Database): Promise<RecordedMigrations> {
  const client = await clientOf(database);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const all = (await readdir(DIRECTORY)).map((file) => parse(file).name).sort();
    const record = nameOf(await recordedIn(client));
    const { rows: found } = await client.query<{ recorded: boolean; installed: boolean }>(
      `select to_regclass($1) is not null as recorded, to_regclass('rowcast.event') is not null as installed`,
      [record],
    );
    const { rows } = found[0]?.recorded
      ? await client.query<{ name: string }>(`select name from ${record}`)
      : { rows: [] };
    const done = new Set(rows.map(({ name }) => name));
    return {
      applied: all.filter((name) => done.has(name)),
      pending: all.filter((name) => !done.has(name)),
      installed: found[0]?.installed ?? false,
    };
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
  client.on('notice', ({ message }) => {
    if (message?.startsWith('rowcast')) options.log.info({ event: 'migration_notice' }, message);
  });
  try {
    await client.connect();
    if (options.watchDefaults === false) await client.query('set rowcast.watch_defaults = off');
    const record = await recordedIn(client);
    await lockRecord(client, record);
    const migrations = await runner({
      dbClient: client,
      dir: DIRECTORY,
      direction: step.direction,
      ...(step.count === undefined ? {} : { count: step.count }),
      ...record,
      singleTransaction: true,
      noLock: true,
      logger: quietLogger(options),
    });
    // The runner has committed, unless there was nothing to do.
    await client.query('commit');
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
 * Where the applied migrations are recorded: in a table of our own, because node-pg-migrate's
 * default table may be the application's; in that one where `npx node-pg-migrate up` has recorded
 * ours.
 */
async function recordedIn(client: pg.Client): Promise<RecordTable> {
  const { rows } = await client.query<{ exists: boolean }>(
    `select to_regclass('public.pgmigrations') is not null as exists`,
  );
  if (rows[0]?.exists) {
    const ours = await client.query(`select from public.pgmigrations where name = '0001_log'`);
    if (ours.rowCount) return { migrationsTable: 'pgmigrations', migrationsSchema: 'public' };
  }
  return { migrationsTable: 'migrations', migrationsSchema: 'rowcast' };
}

interface RecordTable {
  readonly migrationsTable: string;
  readonly migrationsSchema: string;
}

function nameOf({ migrationsSchema, migrationsTable }: RecordTable): string {
  return `${pg.escapeIdentifier(migrationsSchema)}.${pg.escapeIdentifier(migrationsTable)}`;
}

/**
 * Begins the transaction of the migrations. What others have recorded is seen once the lock is
 * had, whatever the database's default isolation; the record is made as node-pg-migrate makes it.
 */
async function lockRecord(client: pg.Client, record: RecordTable): Promise<void> {
  await client.query('begin isolation level read committed');
  try {
    if (record.migrationsSchema === 'rowcast')
      await client.query(
        `create schema if not exists rowcast;
         create table if not exists rowcast.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)`,
      );
    await client.query(`lock table ${nameOf(record)} in exclusive mode`);
  } catch (error) {
    // Another made it at the same moment, or dropped it.
    if (!MADE_MEANWHILE.includes((error as { code?: string }).code ?? '')) throw error;
    await client.query('rollback');
    await lockRecord(client, record);
  }
}

/** After the last `down` nothing of ours stays, the record included. */
async function forgetRecordOfNothing(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ empty: boolean }>(
    `select to_regclass('rowcast.migrations') is not null and to_regclass('rowcast.event') is null as empty`,
  );
  if (!rows[0]?.empty) return;
  // Narrowed watches that `down` has kept stay in it.
  await client.query(
    `drop table rowcast.migrations;
     do $$ begin drop schema rowcast; exception when dependent_objects_still_exist then null; end $$`,
  );
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
  /** False: no table of Rowcast's own is made, and none watched that is there. */
  readonly watchDefaults?: boolean;
  /** A migration is run now; again from the first when a lock was not to be had. */
  began?(name: string): void;
}
