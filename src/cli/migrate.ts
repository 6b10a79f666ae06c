import { pino } from 'pino';
import { loadDatabaseConfig } from '../daemon/config.ts';
import { databaseAccess } from '../postgres/access.ts';
import { type MigrationStep, migrate, pendingMigrations } from '../postgres/migrations.ts';
import { print } from './process.ts';
import { Progress } from './progress.ts';
import { Terminal } from './terminal.ts';

/** `rowcast migrate`. @param many how many migrations; all for up and one for down without it */
export async function migrateDatabase(
  env: NodeJS.ProcessEnv,
  direction: 'up' | 'down',
  many?: number,
): Promise<void> {
  const { database, logLevel } = loadDatabaseConfig(env);
  const { client } = await databaseAccess(database);
  const { applied, pending } = await pendingMigrations(client);
  const due =
    direction === 'up' ? pending.slice(0, many) : applied.slice(-(many ?? 1)).toReversed();
  const progress = new Progress(new Terminal(process.stderr, env), 'migrations', due.length);
  const names = await migrate(
    {
      database: client,
      log: pino({ level: logLevel, base: null }),
      signal: new AbortController().signal,
      watchDefaults: env.ROWCAST_WATCH_DEFAULTS !== 'off',
      began: (name) => progress.update(due.indexOf(name), name),
    },
    stepOf(direction, many),
  );
  progress.end(names.length);
  print(
    names.length > 0 ? names.map((name) => `${direction} ${name}`).join('\n') : 'nothing to do',
  );
}

function stepOf(direction: 'up' | 'down', many?: number): MigrationStep {
  if (direction === 'down') return { direction, count: many ?? 1 };
  return many === undefined ? { direction } : { direction, count: many };
}
