import type { World } from '../world.ts';
import { runDaemon } from './run-daemon.ts';

/** A command run to its end. */
export async function command(
  args: readonly string[],
  env: Record<string, string>,
): Promise<CommandResult> {
  const { exited, stdout, stderr } = runDaemon(args, env);
  const code = await exited;
  return { code, output: stdout.join('\n'), errors: stderr.join('\n') };
}

export interface CommandResult {
  readonly code: number | string;
  readonly output: string;
  readonly errors: string;
}

/** A daemon of this world that leads, and the environment in which commands find it. */
export async function leaderOf(world: World, env: Record<string, string> = {}) {
  const daemon = world.daemon(env);
  const { inspectPort } = await daemon.logged('starting');
  await daemon.logged('started');
  return {
    daemon,
    env: { ...world.environment(), ...env, ROWCAST_INSPECT_PORT: String(inspectPort) },
  };
}
