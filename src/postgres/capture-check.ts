import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { pause, systemClock } from '../clock.ts';
import { errorText } from '../error-text.ts';
import { LimitedLog } from '../limited-log.ts';
import type { Service } from '../service.ts';
import type { Database } from './servers.ts';
import { Session } from './session.ts';

const INTERVAL_MS = 60_000;
const QUERY_TIMEOUT_MS = 10_000;

/**
 * Looks once a minute whether every watched table is captured. A trigger that somebody disabled
 * stops no relay and fails no write: without this nobody would hear of it but the users who see
 * nothing.
 */
export class CaptureCheck
  extends EventEmitter<{ checked: [uncaptured: readonly string[]] }>
  implements Service
{
  readonly #deps: CaptureCheckDeps;
  readonly #log: LimitedLog;
  readonly #stop = new AbortController();
  /** Problems by table, as they were logged last. */
  #known = new Map<string, string>();
  #running: Promise<void> | undefined;

  constructor(deps: CaptureCheckDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
  }

  /** Does not wait for the first look. */
  async start(): Promise<void> {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#look().catch((error: unknown) => {
        const fields = { event: 'capture_unchecked', error: errorText(error) };
        this.#log.log(
          'warn',
          'capture_unchecked',
          fields,
          'cannot look whether the watched tables are captured',
        );
      });
      await pause(systemClock, this.#deps.intervalMs ?? INTERVAL_MS, signal);
    }
  }

  async #look(): Promise<void> {
    const { database, log } = this.#deps;
    const session = await Session.open({
      database,
      applicationName: 'rowcast check',
      queryTimeoutMs: QUERY_TIMEOUT_MS,
    });
    try {
      const rows = await session.query<{ table: string; problem: string }>(
        'select target::text as table, problem from rowcast.watched where problem is not null',
      );
      const found = new Map(rows.map(({ table, problem }) => [table, problem]));
      for (const [table, problem] of found)
        if (this.#known.get(table) !== problem)
          log.error(
            { event: 'capture_broken', table, problem },
            'rows of a watched table are not captured, and reach nobody',
          );
      for (const table of this.#known.keys())
        if (!found.has(table))
          log.info({ event: 'capture_mended', table }, 'the table is captured again');
      this.#known = found;
      this.emit('checked', [...found.keys()]);
    } finally {
      await session.close();
    }
  }
}

export interface CaptureCheckDeps {
  readonly database: Database;
  readonly log: Logger;
  readonly intervalMs?: number;
}
