import { pause, systemClock } from '../clock.ts';
import { errorText } from '../error-text.ts';
import { installationOf, readLogStatus } from '../log/log-status.ts';
import { openSession } from '../postgres/access.ts';
import type { Session } from '../postgres/session.ts';
import { type Pace, type Remaining, rateOf } from '../telemetry/pace.ts';
import type { CommandContext } from './context.ts';
import { type Status, statusScreen } from './status-screen.ts';
import { printable } from './terminal.ts';

const REDRAW_MS = 2000;
const QUERY_TIMEOUT_MS = 10_000;

/**
 * One screen, or with `watch` a new one every two seconds until the signal aborts.
 * @returns whether the database could be asked
 * @throws when neither it nor a relay can; with `watch`, only if that is so at first
 */
export async function status(
  context: CommandContext,
  options: { json: boolean; watch: boolean },
): Promise<boolean> {
  const { terminal, signal, inspector } = context;
  const source = new StatusSource(context);
  const show = (now: Status, pace: Pace | null) => {
    if (options.json) terminal.print(JSON.stringify(now));
    else if (options.watch)
      terminal.redraw(statusScreen(printable(now), { terminal, inspector, pace }));
    else terminal.print(statusScreen(printable(now), { terminal, inspector, pace }));
  };
  try {
    let before = await source.read();
    show(before, null);
    while (options.watch && !signal.aborted) {
      await pause(systemClock, REDRAW_MS, signal);
      try {
        const now = await source.read();
        show(now, rateOf(leftOf(before), leftOf(now)));
        before = now;
      } catch (error) {
        context.note(
          terminal.paint('red', `neither database nor relay can be asked: ${errorText(error)}`),
        );
      }
    }
    return before.database !== null;
  } finally {
    await source.close();
  }
}

function leftOf({ at, database }: Status): Remaining {
  return { left: database?.installed ? database.lag.backlog : 0, atMs: Date.parse(at) };
}

/**
 * Asks the database through one connection, which is made again when it is lost, and the relay on
 * this machine.
 */
class StatusSource {
  readonly #context: CommandContext;
  #session: Session | undefined;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  /** @throws when neither can be asked */
  async read(): Promise<Status> {
    const { database: settings, inspector } = this.#context;
    const at = new Date().toISOString();
    try {
      this.#session ??= await openSession(settings, {
        applicationName: 'rowcast status',
        queryTimeoutMs: QUERY_TIMEOUT_MS,
      });
      const database = await readLogStatus(this.#session);
      return { at, database, relay: await inspector.status(installationOf(database)) };
    } catch (error) {
      this.#session?.destroy();
      this.#session = undefined;
      const relay = await inspector.status(null);
      if (!relay) throw error;
      return { at, database: null, problem: errorText(error), relay };
    }
  }

  async close(): Promise<void> {
    await this.#session?.close();
  }
}
