import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

export type SinkMessage =
  | { readonly kind: 'reset' }
  | { readonly kind: 'report' }
  /** Report once so many have come. */
  | { readonly kind: 'wait'; readonly events: number; readonly posts: number };

export interface SinkReport {
  readonly posts: number;
  readonly bytes: number;
  /** Rows in them, where rows carry the time of their INSERT. */
  readonly events: number;
  /** When each post came, epoch ms. */
  readonly arrivals: readonly number[];
  /** The latency of each row, ms from before its INSERT. */
  readonly latencies: readonly number[];
}

/** sink.ts in a process of its own. */
export class SinkProcess {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}/bench`;
  }

  static async start(): Promise<SinkProcess> {
    const child = fork(new URL('sink.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
      serialization: 'advanced',
    });
    const [port] = (await once(child, 'message')) as [number];
    return new SinkProcess(child, port);
  }

  async reset(): Promise<void> {
    await this.#ask({ kind: 'reset' });
  }

  report(): Promise<SinkReport> {
    return this.#ask({ kind: 'report' }) as Promise<SinkReport>;
  }

  /** Resolves once so many rows and posts have come since the last reset. */
  received(least: { events?: number; posts?: number }): Promise<SinkReport> {
    return this.#ask({
      kind: 'wait',
      events: least.events ?? 0,
      posts: least.posts ?? 0,
    }) as Promise<SinkReport>;
  }

  stop(): void {
    this.#child.disconnect();
  }

  async #ask(message: SinkMessage): Promise<unknown> {
    const answer = once(this.#child, 'message');
    this.#child.send(message);
    return (await answer)[0];
  }
}
