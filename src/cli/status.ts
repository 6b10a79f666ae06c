import { setTimeout } from 'node:timers/promises';
import { databaseAccess } from '../database.ts';
import { readLogStatus } from '../listener/log-status.ts';
import { Session } from '../listener/session.ts';
import { type Left, paceOf } from '../progress.ts';
import type { CommandContext } from './context.ts';
import { type Status, statusScreen } from './status-screen.ts';

const REDRAW_MS = 2000;
const QUERY_TIMEOUT_MS = 10_000;

/**
 * One screen, or with `watch` a new one every two seconds until the signal aborts, from one connection that is made again when it is lost.
 * @throws when the database cannot be reached; with `watch`, only if that is so at first
 */
export async function status(context: CommandContext, options: { json: boolean; watch: boolean }): Promise<void> {
  const { terminal, signal } = context;
  let session: Session | undefined;
  let shown = false;
  let before: Left | null = null;
  try {
    do {
      try {
        if (!session || session.ended.aborted) session = await open(context);
        const now = await gather(context, session);
        const left = leftOf(now);
        const pace = before && left ? paceOf(before, left) : null;
        before = left;
        const text = options.json
          ? JSON.stringify(now)
          : statusScreen(now, { terminal, inspector: context.inspector, pace });
        if (options.watch && !options.json) terminal.redraw(text);
        else terminal.print(text);
        shown = true;
      } catch (error) {
        if (!options.watch || !shown) throw error;
        session?.destroy();
        terminal.print(
          terminal.paint('red', `the database cannot be asked: ${error instanceof Error ? error.message : error}`),
        );
      }
      if (options.watch) await setTimeout(REDRAW_MS, undefined, { signal }).catch(() => undefined);
    } while (options.watch && !signal.aborted);
  } finally {
    await session?.close();
  }
}

function leftOf({ database }: Status): Left | null {
  return database.installed ? { left: database.lag.backlog, atMs: performance.now() } : null;
}

async function open({ database }: CommandContext): Promise<Session> {
  const { client } = await databaseAccess(database);
  return Session.open({ database: client, applicationName: 'rowcast status', queryTimeoutMs: QUERY_TIMEOUT_MS });
}

async function gather({ inspector, consumer }: CommandContext, session: Session): Promise<Status> {
  const [database, relay] = await Promise.all([readLogStatus(session, consumer), inspector.status()]);
  return { at: new Date().toISOString(), database, relay };
}
