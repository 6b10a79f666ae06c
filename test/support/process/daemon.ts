import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * Built by global-setup.ts: without a compiler in it, a process starts in two thirds of the
 * time.
 */
const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));

/** `rowcast …` in a process of its own, to be killed for real. */
export class Daemon {
  readonly process: ChildProcess;
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
  readonly #lines: Record<string, unknown>[] = [];
  #arrived: () => void = () => undefined;

  /** @param built another build */
  constructor(
    args: readonly string[],
    env: Record<string, string>,
    built?: { main: string; cwd: string },
  ) {
    const { PATH = '', HOME = '' } = process.env;
    this.process = spawn(process.execPath, [built?.main ?? MAIN, ...args], {
      cwd: built?.cwd,
      env: { PATH, HOME, NODE_NO_WARNINGS: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.exited = once(this.process, 'exit').then(([code, signal]) => code ?? signal);
    createInterface({ input: this.process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.stdout.push(line);
      if (line.startsWith('{')) this.#lines.push(JSON.parse(line) as Record<string, unknown>);
      this.#arrived();
    });
    createInterface({ input: this.process.stderr as NodeJS.ReadableStream }).on('line', (line) =>
      this.stderr.push(line),
    );
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** The log line of an event, once it was printed. @throws when the process ends without it */
  async logged(event: string): Promise<Record<string, unknown>> {
    for (;;) {
      const line = this.#lines.find((each) => each.event === event);
      if (line) return line;
      const ended = await Promise.race([
        this.exited,
        new Promise<undefined>((resolve) => {
          this.#arrived = () => resolve(undefined);
        }),
      ]);
      if (ended !== undefined && !this.#lines.some((each) => each.event === event)) {
        throw new Error(
          `the process ended (${ended}) without logging ${event}: ${this.stderr.join('\n')}`,
        );
      }
    }
  }
}
