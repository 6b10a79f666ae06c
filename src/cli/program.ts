import { Command } from 'commander';
import { ago, count, direction, eventId, port, term, terms } from './arguments.ts';
import { type CommandContext, findDev, withContext } from './context.ts';
import { dev } from './dev.ts';
import { disconnect } from './disconnect.ts';
import { doctor } from './doctor.ts';
import { migrateDatabase } from './migrate.ts';
import { endWithReader, run } from './process.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { tail } from './tail.ts';
import { Terminal } from './terminal.ts';
import { trace } from './trace.ts';

/** Where `rowcast dev` keeps its data, and the other commands find it. */
const DIR = [
  '--dir <path>',
  'the folder of a running rowcast dev, used where DATABASE_URL is not set',
  '.rowcast',
] as const;

/** `rowcast …`: each command with its arguments. @param env settings of all of them */
export function commandLine(version: string, env: NodeJS.ProcessEnv): Command {
  const program = new Command('rowcast')
    .description(
      'Relays committed Postgres rows to WebSocket clients. Settings come from the environment: see the README.',
    )
    .version(version);
  addSystem(program, env);
  addInspection(program, env);
  return program;
}

/** Commands that run or change something. */
function addSystem(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('start')
    .description('run the relay')
    .action(() => run(() => start(env)));
  program
    .command('migrate')
    .description('apply all migrations, or take the newest back')
    .argument('<direction>', 'up or down', direction)
    .argument('[count]', 'how many; without it up applies all, down takes one back', count)
    .action((way: 'up' | 'down', many?: number) => run(() => migrateDatabase(env, way, many)));
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
    .action((options: { port: number; dir: string }) => run(() => dev(env, options)));
}

/** Commands that look at a running system. */
function addInspection(program: Command, env: NodeJS.ProcessEnv): void {
  const look = (dir: string, command: (context: CommandContext) => Promise<unknown>) =>
    run(() => withContext(env, dir, command));
  program
    .command('status')
    .description('who leads, what waits, what is watched, and what the relay on this machine knows')
    .option('--json', 'one line of JSON')
    .option('--watch', 'again every two seconds, until Ctrl-C')
    .option(...DIR)
    .action(({ dir, json = false, watch = false }) =>
      look(dir, (context) => status(context, { json, watch })),
    );
  program
    .command('doctor')
    .description(
      'check each setting against the real services, and say what to do; exit code 1 where something is wrong',
    )
    .option(
      '--url <url>',
      'wss://… where clients connect: sends an event to itself through the whole path',
    )
    .option('--token <jwt>', 'what that client presents')
    .option('--json', 'one finding a line, as JSON')
    .option(...DIR)
    .action((options) => run(() => runDoctor(env, options)));
  program
    .command('tail')
    .description('print events as they are committed, without delivering them')
    .option('--type <type...>', 'only these types; NEW_* takes all that begin so')
    .option(
      '--audience <term...>',
      'only events for one of these terms: all, user:42, room:lobby …',
      terms,
    )
    .option(
      '--since <time>',
      'begin with what is that old and still in the log: 90s, 10m, 2h, 1d',
      ago,
    )
    .option('--json', 'whole frames, as a client would get them')
    .option(...DIR)
    .action(({ dir, type: types = [], audience = [], json = false, since: sinceSeconds = null }) =>
      look(dir, (context) => tail(context, { types, audience, json, sinceSeconds })),
    );
  program
    .command('trace')
    .description('what became of one event: captured, for whom, each post and its outcome')
    .argument('<event id>', 'the id of its frame', eventId)
    .option('--json', 'one line of JSON')
    .option(...DIR)
    .action((id: string, { dir, json = false }) =>
      look(dir, (context) => trace(context, id, { json })),
    );
  program
    .command('disconnect')
    .description('close the connections of a term; whoever has a good token may come back')
    .argument('<term>', 'all, user:42, room:lobby …', term)
    .option('--reason <text>', 'for the people whose connections they are')
    .option(...DIR)
    .action((who: string, { dir, reason = null }) =>
      look(dir, (context) => disconnect(context, who, reason)),
    );
}

async function runDoctor(
  env: NodeJS.ProcessEnv,
  options: { dir: string; url?: string; token?: string; json?: boolean },
): Promise<void> {
  const local = await findDev(env, options.dir);
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
