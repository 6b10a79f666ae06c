import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { DevUrls } from '../../../src/local/dev-folder.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** `npm run dev` as a person starts it; ends with its test. */
export function dev(dir: string, ...args: string[]): DevProcess {
  const system = startDev(dir, args);
  onTestFinished(() => system.stop());
  return system;
}

/** @param cwd a project that has the package installed; without it, this one */
export function startDev(
  dir: string,
  args: string[],
  env: Record<string, string> = {},
  cwd?: string,
): DevProcess {
  const [program, ...start] = cwd ? ['npx', 'rowcast', 'dev'] : ['npm', 'run', 'dev', '--'];
  const child = spawn(program as string, [...start, '--dir', dir, ...args], {
    ...(cwd ? { cwd } : {}),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    // As in a terminal: vitest's NODE_ENV would make the page React's development build.
    env: { ...process.env, NODE_ENV: '', NODE_NO_WARNINGS: '1', ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  // npm itself ends by the signal that it passed on.
  const exited = once(child, 'exit').then(([code, signal]) =>
    signal === 'SIGINT' ? 0 : (code as number),
  );
  // As Ctrl-C does: to the whole group.
  const interrupt = () => process.kill(-(child.pid as number), 'SIGINT');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) interrupt();
    await exited;
  };
  const ready = async () => {
    while (!existsSync(join(dir, 'dev.json'))) {
      if (child.exitCode !== null) throw new Error(output);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return JSON.parse(await readFile(join(dir, 'dev.json'), 'utf8')) as DevUrls;
  };
  return { ready, exited, interrupt, stop, output: () => output };
}

export interface DevProcess {
  ready(): Promise<DevUrls>;
  readonly exited: Promise<number>;
  interrupt(): void;
  stop(): Promise<void>;
  output(): string;
}

export async function folder(): Promise<string> {
  const dir = await temporaryFolder('dev');
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
