import { loadCommandConfig } from '../daemon/config.ts';
import { type DevEnvironment, devEnvironment } from '../local/dev-environment.ts';
import { DevFolder } from '../local/dev-folder.ts';
import type { DatabaseSettings } from '../postgres/access.ts';
import { InspectionClient } from '../telemetry/inspection-client.ts';
import { endWithReader, note, stopOnSignal } from './process.ts';
import { Terminal } from './terminal.ts';

/** Shared by the commands that look at a running system. */
export interface CommandContext {
  readonly database: DatabaseSettings;
  readonly inspector: InspectionClient;
  readonly terminal: Terminal;
  /** Writes a line beside the output, to stderr. */
  note(line: string): void;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Adds to the environment, where it has no DATABASE_URL, the settings of a `rowcast dev` that runs
 * in the folder: the AWS SDK reads its own variables by itself.
 * @returns that system, or null
 */
export async function findDev(env: NodeJS.ProcessEnv, dir: string): Promise<DevEnvironment | null> {
  const local = env.DATABASE_URL ? null : await devEnvironment(new DevFolder(dir));
  Object.assign(env, local?.env);
  return local;
}

/**
 * Runs a command that looks at a running system.
 * @param command resolves with false where it did not find what was asked for: exit code 1
 * @throws where no system is known
 */
export async function withContext(
  env: NodeJS.ProcessEnv,
  dir: string,
  command: (context: CommandContext) => Promise<unknown>,
): Promise<void> {
  const local = await findDev(env, dir);
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
    inspector: new InspectionClient(inspectPort),
    terminal: new Terminal(process.stdout, env),
    note,
    signal: ending.signal,
  });
  if (found === false) process.exitCode = 1;
}
