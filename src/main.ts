#!/usr/bin/env node
/**
 * Entry and composition root: the only reader of process.env, the only one who ends the process.
 */
import { Command, InvalidArgumentError } from 'commander';
import { pino } from 'pino';
import { ConfigError, loadConfig, loadDatabaseConfig } from './config.ts';
import { Daemon } from './daemon.ts';
import { databaseAccess } from './database.ts';
import { type MigrationStep, migrate } from './listener/migrations.ts';
import { RecentProblems } from './telemetry/recent-problems.ts';

/** ECS kills 30 s after SIGTERM; what is not delivered by then is delivered by the next relay. */
const STOP_DEADLINE_MS = 25_000;

const program = new Command('rowcast').description(
  'Relays committed Postgres rows to WebSocket clients. Settings come from the environment: see the README.',
);
program
  .command('start')
  .description('run the relay')
  .action(() => run(start));
program
  .command('migrate')
  .description('apply all migrations, or take the newest back')
  .argument('<direction>', 'up or down', direction)
  .argument('[count]', 'how many; without it up applies all, down takes one back', count)
  .action((way: 'up' | 'down', many?: number) => run(() => migrateDatabase(way, many)));
program
  .command('dev')
  .description('run the whole system on this machine, without Docker or AWS')
  .option(
    '--port <first>',
    'first of five ports in a row: page, gateway, DynamoDB, health, Postgres; 0 takes free ones',
    port,
    7400,
  )
  .option('--dir <path>', 'where data and dev.json are kept', '.rowcast')
  .action((options: { port: number; dir: string }) => run(() => dev(options)));
await program.parseAsync();

async function start(): Promise<void> {
  const config = loadConfig(process.env);
  const problems = new RecentProblems();
  const log = pino({
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: { streamWrite: problems.see },
  });
  const daemon = new Daemon({ config, database: await databaseAccess(config.database), log, problems, print });
  stopOnSignal(() => daemon.stop());
  await daemon.start();
}

async function migrateDatabase(way: 'up' | 'down', many?: number): Promise<void> {
  const { database, logLevel } = loadDatabaseConfig(process.env);
  const { client } = await databaseAccess(database);
  const step: MigrationStep =
    way === 'down'
      ? { direction: 'down', count: many ?? 1 }
      : many === undefined
        ? { direction: 'up' }
        : { direction: 'up', count: many };
  const names = await migrate(
    { database: client, log: pino({ level: logLevel, base: null }), signal: new AbortController().signal },
    step,
  );
  process.stdout.write(names.length > 0 ? `${names.map((name) => `${way} ${name}\n`).join('')}` : 'nothing to do\n');
}

async function dev(options: { port: number; dir: string }): Promise<void> {
  const { DevSystem } = await import('./local/dev-system.ts').catch((error: unknown) => {
    throw new Error('rowcast dev runs from a clone of the repository, with all its packages: npm ci && npm run dev', {
      cause: error,
    });
  });
  const system = new DevSystem({
    ...options,
    relay: {
      command: process.execPath,
      args: [...process.execArgv, ...process.argv.slice(1, 2), 'start'],
      env: process.env,
    },
    print,
  });
  stopOnSignal(() => system.stop());
  await system.start();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One error on stderr and exit code 1: for settings what is wrong with each, else the error and its causes. */
async function run(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.stderr.write(`rowcast: ${describe(error)}\n`);
    process.exit(1);
  }
}

/** A second signal, or a stop that takes too long, ends the process at once. */
function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130);
      stopping = true;
      setTimeout(() => {
        process.stderr.write(`rowcast: did not stop within ${STOP_DEADLINE_MS / 1000} s; ending at once\n`);
        process.exit(1);
      }, STOP_DEADLINE_MS).unref();
      stop().then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`rowcast: could not stop cleanly: ${describe(error)}\n`);
          process.exit(1);
        },
      );
    });
  }
}

function describe(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof AggregateError && !error.message) return error.errors.map(describe).join('; ');
  if (!(error instanceof Error)) return String(error);
  const hint = (error as { hint?: string }).hint;
  return [error.message || error.name, hint && `(${hint})`, error.cause && `caused by: ${describe(error.cause)}`]
    .filter(Boolean)
    .join(' ');
}

function direction(value: string): 'up' | 'down' {
  if (value !== 'up' && value !== 'down') throw new InvalidArgumentError('It is neither up nor down.');
  return value;
}

function count(value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new InvalidArgumentError('It is not a whole number above 0.');
  return Number(value);
}

function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_531)
    throw new InvalidArgumentError('It is not a port from 0 to 65531.');
  return Number(value);
}
