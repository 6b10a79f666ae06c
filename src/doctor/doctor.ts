import { type Config, ConfigError, loadConfig, loadDatabaseConfig } from '../daemon/config.ts';
import { errorText } from '../error-text.ts';
import { readLogStatus } from '../log/log-status.ts';
import { type DatabaseAccess, databaseAccess } from '../postgres/access.ts';
import { Session } from '../postgres/session.ts';
import { awsFindings } from './aws-checks.ts';
import { captureFindings } from './capture-checks.ts';
import { clockFindings } from './clock-checks.ts';
import { connectFinding, databaseFindings } from './database-checks.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';
import { type ProbeTarget, probeFindings } from './probe.ts';
import { relayFindings } from './relay-checks.ts';

const QUERY_TIMEOUT_MS = 10_000;
const SETTINGS = findingsOf('settings');

/**
 * Looks at everything that Rowcast needs, in the order in which one rests on another, and says of
 * each what it found. Each check asks the real service; none changes anything, but for the probe,
 * whose event only its own connection gets. What cannot be looked at because of an earlier finding
 * is skipped, and said so.
 */
export async function* examine(options: DoctorOptions): Findings {
  const { config, database, findings } = readSettings(options.env);
  yield* findings;
  if (database) yield* aboutDatabase(database, config);
  else yield findingsOf('database').skipped('database', 'fix its settings first');
  if (!config) {
    yield findingsOf('aws').skipped(
      'gateway, table',
      'fix WEBSOCKET_ENDPOINT and AWS_REGION first',
    );
    return;
  }
  yield* awsFindings(config);
  yield* clockFindings(config.gatewayEndpoint, database);
  if (options.probe) yield* probeFindings({ ...options.probe, config });
  else
    yield findingsOf('probe').skipped(
      'probe',
      'without --url no event is sent through the whole path',
    );
}

export interface DoctorOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where clients connect; null sends no probe. */
  readonly probe: ProbeTarget | null;
}

/**
 * The settings that are right: wrong ones are left out, so that everything else is still
 * checked.
 */
function readSettings(env: DoctorOptions['env']) {
  try {
    const config = loadConfig(env);
    const { gatewayEndpoint, connectionsTable, region } = config;
    const ok = SETTINGS.ok(
      'settings',
      `all are well formed; ${gatewayEndpoint}, table ${connectionsTable}, ${region}`,
    );
    return { config, database: config.database, findings: [ok] };
  } catch (error) {
    const named = problemsOf(error).map((problem): [string, string] => {
      const at = problem.indexOf(': ');
      return [problem.slice(0, at), problem.slice(at + 2)];
    });
    const wrong = new Set(named.map(([name]) => name));
    const others = Object.fromEntries(Object.entries(env).filter(([name]) => !wrong.has(name)));
    return {
      config: attempt(() => loadConfig(others)),
      database: attempt(() => loadDatabaseConfig(others).database),
      findings: named.map(([name, problem]) => SETTINGS.problem(name, problem)),
    };
  }
}

/** Null where settings that are needed are missing or wrong. */
function attempt<Loaded>(load: () => Loaded): Loaded | null {
  try {
    return load();
  } catch (error) {
    problemsOf(error);
    return null;
  }
}

function problemsOf(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems;
  throw error;
}

async function* aboutDatabase(settings: Config['database'], config: Config | null): Findings {
  let access: DatabaseAccess;
  let session: Session;
  try {
    access = await databaseAccess(settings);
    session = await Session.open({
      database: access.client,
      applicationName: 'rowcast doctor',
      queryTimeoutMs: QUERY_TIMEOUT_MS,
    });
  } catch (error) {
    yield connectFinding(error);
    yield findingsOf('capture').skipped('capture', 'the database is to be reached first');
    return;
  }
  try {
    const doorbell = config?.relay.doorbell ?? true;
    const usable = yield* databaseFindings({ session, access, doorbell });
    const status = usable ? await readLogStatus(session) : null;
    if (!status?.installed) {
      yield findingsOf('capture').skipped('capture', 'rights and migrations come first');
      return;
    }
    yield* captureFindings(session, status);
    yield* relayFindings(status, { doorbell, inspectPort: config?.inspectPort ?? null });
  } catch (error) {
    yield lostFinding(error);
  } finally {
    await session.close();
  }
}

function lostFinding(error: unknown): Finding {
  return findingsOf('database').problem(
    'questions',
    `the database could not be asked further: ${errorText(error)}`,
  );
}
