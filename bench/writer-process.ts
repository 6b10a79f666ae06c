import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Load } from './writer.ts';

/** writer.ts in a process of its own. */
export class WriterProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(url: string, connections: number): Promise<WriterProcess> {
    const child = fork(new URL('writer.ts', import.meta.url), [url, String(connections)], {
      execArgv: ['--import', 'tsx'],
    });
    await once(child, 'message');
    return new WriterProcess(child);
  }

  /** @returns how many rows were committed */
  async write(load: Load): Promise<number> {
    const done = once(this.#child, 'message');
    this.#child.send(load);
    return Number((await done)[0]);
  }

  stop(): void {
    this.#child.disconnect();
  }
}
