import { pino } from 'pino';
import { loadConfig } from '../daemon/config.ts';
import { Daemon } from '../daemon/daemon.ts';
import { databaseAccess } from '../postgres/access.ts';
import { RecentProblems } from '../telemetry/recent-problems.ts';
import { endWithParent, keepOnWithoutReader, print, stopOnSignal } from './process.ts';

/** `rowcast start`: runs the relay until a signal. @throws with every wrong setting */
export async function start(env: NodeJS.ProcessEnv): Promise<void> {
  keepOnWithoutReader();
  // The next relay delivers what is in flight then.
  endWithParent();
  const config = loadConfig(env);
  const problems = new RecentProblems();
  const log = pino({
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: { streamWrite: problems.see },
  });
  const database = await databaseAccess(config.database);
  const daemon = new Daemon({ config, database, log, problems, print });
  stopOnSignal(() => daemon.stop());
  await daemon.start();
}
