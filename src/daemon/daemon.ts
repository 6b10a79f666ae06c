import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { pause, systemClock } from '../clock.ts';
import { ConnectionDirectory } from '../connections/connection-directory.ts';
import { ConnectionStore } from '../connections/connection-store.ts';
import { checkTable } from '../connections/table-check.ts';
import { errorText } from '../error-text.ts';
import { checkGateway } from '../gateway/gateway-check.ts';
import { LimitedLog } from '../limited-log.ts';
import type { DatabaseAccess } from '../postgres/access.ts';
import { CaptureCheck } from '../postgres/capture-check.ts';
import { migrate, requireSchema } from '../postgres/migrations.ts';
import { checkNotifications } from '../postgres/notification-check.ts';
import { type Database, isUnreachable } from '../postgres/servers.ts';
import { Relay } from '../relay/relay.ts';
import type { Service } from '../service.ts';
import { DeliveryJournal } from '../telemetry/delivery-journal.ts';
import { EmfReporter } from '../telemetry/emf.ts';
import { healthRoutes, type Readiness } from '../telemetry/health.ts';
import { HttpService } from '../telemetry/http-service.ts';
import { InspectionApi } from '../telemetry/inspection-api.ts';
import { Metrics } from '../telemetry/metrics.ts';
import type { RecentProblems } from '../telemetry/recent-problems.ts';
import { StateLog } from '../telemetry/state-log.ts';
import { AwsClients } from './aws-clients.ts';
import type { Config } from './config.ts';
import { relayDatabase } from './relay-database.ts';
import { type Check, SelfCheck } from './self-check.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * While the database is away at the start: 0.25–0.5 s, then doubling, at most 5 s apart, for ever.
 */
const DATABASE_RETRY: Backoff = { baseMs: 500, capMs: 5000 };

/**
 * All parts of the daemon, made and joined. Starts what is heard first (health), then what it needs
 * (the schema), then the relay; stops in the reverse order.
 */
export class Daemon implements Service {
  readonly relay: Relay;
  readonly #config: Config;
  readonly #database: DatabaseAccess;
  readonly #log: Logger;
  readonly #health: HttpService;
  readonly #inspect: HttpService;
  readonly #aws: AwsClients;
  readonly #directory = new ConnectionDirectory();
  readonly #selfCheck: SelfCheck;
  readonly #captureCheck: CaptureCheck;
  readonly #emf: EmfReporter | null;
  readonly #abort = new AbortController();
  readonly #limited: LimitedLog;
  /** Why the schema could not be looked at yet. */
  #databaseProblem: string | null = null;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor({ config, database, log, problems, print }: DaemonDeps) {
    this.#config = config;
    this.#database = database;
    this.#log = log;
    this.#limited = new LimitedLog(log);
    this.#aws = new AwsClients(config);
    this.relay = new Relay({
      clock: systemClock,
      ...relayDatabase(database.client, log),
      directory: this.#directory,
      feed: this.#aws.feedInto(this.#directory, log),
      store: new ConnectionStore(this.#aws.table),
      gateway: this.#aws.gateway,
      settings: config.relay,
      log,
    });
    this.#selfCheck = new SelfCheck(this.#checks(), log);
    const { relay } = this;
    this.#captureCheck = new CaptureCheck({ database: database.client, log });
    const observed = { relay, directory: this.#directory, feed: config.directoryFeed };
    const metrics = new Metrics({ ...observed, captureCheck: this.#captureCheck });
    new StateLog({ relay, log, postsPerSecondLimit: config.relay.postsPerSecondLimit });
    const { emfNamespace: namespace } = config;
    this.#emf =
      namespace === null ? null : new EmfReporter({ registry: metrics.registry, namespace, print });
    const readiness = () => this.readiness();
    this.#health = new HttpService({
      port: config.port,
      host: config.host,
      paths: '/healthz, /readyz and /metrics',
      answer: healthRoutes({ readiness, metrics: () => metrics.text() }),
    });
    const journal = new DeliveryJournal({ relay, known: () => this.#directory.size });
    const inspection = new InspectionApi({ ...observed, journal, problems, readiness });
    this.#inspect = new HttpService({
      port: config.inspectPort,
      host: '127.0.0.1',
      localOnly: true,
      paths: '/status and /trace/ID',
      answer: (path) => inspection.answer(path),
    });
  }

  /**
   * Resolves once it leads or stands by.
   * @throws when the schema cannot be made: an operator must look
   */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const port = await this.#health.start();
    const inspectPort = await this.#startInspection();
    if (this.#abort.signal.aborted) return;
    this.#log.info(
      {
        event: 'starting',
        port,
        inspectPort,
        table: this.#config.connectionsTable,
        gateway: this.#config.gatewayEndpoint,
      },
      'starting',
    );
    await this.#emf?.start();
    await this.#prepareDatabase();
    if (this.#abort.signal.aborted) return;
    await Promise.all([this.#selfCheck.start(), this.#captureCheck.start()]);
    await this.relay.start();
    this.#log.info(
      { event: 'started', role: this.relay.role, connections: this.#directory.size },
      'started',
    );
  }

  /**
   * Delivery does not depend on it: a port that is taken, by a second relay on this machine, is no
   * reason not to start.
   */
  async #startInspection(): Promise<number | null> {
    try {
      return await this.#inspect.start();
    } catch (error) {
      this.#log.warn(
        {
          event: 'inspection_unavailable',
          port: this.#config.inspectPort,
          error: errorText(error),
        },
        'rowcast status and trace cannot ask this relay; set ROWCAST_INSPECT_PORT to a free port',
      );
      return null;
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  readiness(): Readiness {
    const { role, listening, problem } = this.relay;
    const reasons = [
      ...(problem ? [problem] : []),
      ...(this.#databaseProblem ? [this.#databaseProblem] : []),
      ...this.#selfCheck.problems,
      // It stands for the lease once it has read the table.
      ...(this.#directory.asOf === 0
        ? [`the connections table ${this.#config.connectionsTable} has not been read yet`]
        : role === 'leader' || role === 'standby'
          ? []
          : [
              'it neither leads nor stands by: the database cannot be reached, or is being migrated',
            ]),
      ...(listening ? [] : ['it does not hear notifications; rows are polled']),
    ];
    return reasons.length > 0 ? { ready: false, role, reasons } : { ready: true, role };
  }

  /** Checks of the relay's surroundings, by their subject. */
  #checks(): Record<string, Check> {
    const { connectionsTable: table, directoryFeed, relay } = this.#config;
    return {
      gateway: () => checkGateway(this.#aws.gateway),
      table: async () => {
        const { problem, warning } = await checkTable(this.#aws.dynamodb, {
          table,
          stream: directoryFeed === 'stream',
        });
        if (warning) this.#log.warn({ event: 'table_warning' }, warning);
        return problem;
      },
      ...(relay.doorbell ? { doorbell: () => checkNotifications(this.#database.client) } : {}),
    };
  }

  async #prepareDatabase(): Promise<void> {
    const { client: database, tls, warning } = this.#database;
    if (warning) this.#log.warn({ event: 'database_tls', tls }, warning);
    for (let failures = 1; !this.#abort.signal.aborted; failures++) {
      try {
        await this.#prepareSchema(database);
        this.#databaseProblem = null;
        return;
      } catch (error) {
        await this.#awaitDatabase(error, failures);
      }
    }
  }

  async #prepareSchema(database: Database): Promise<void> {
    if (!this.#config.migrateOnStart) return requireSchema(database);
    const names = await migrate(
      {
        database,
        log: this.#log,
        signal: this.#abort.signal,
        watchDefaults: this.#config.watchDefaults,
      },
      { direction: 'up' },
    );
    if (names.length > 0)
      this.#log.info({ event: 'migrated', migrations: names }, 'applied migrations');
  }

  /**
   * A database that is away for a failover comes back: a relay that ended would trip the circuit
   * breaker of its deploy.
   * @throws otherwise
   */
  async #awaitDatabase(error: unknown, failures: number): Promise<void> {
    if (this.#abort.signal.aborted) return;
    if (!isUnreachable(error)) {
      const denied = (error as { code?: string }).code === INSUFFICIENT_PRIVILEGE;
      const advice = denied
        ? ' (migrate as the owner of your tables: rowcast migrate up; or grant as docs/sql.md says)'
        : '';
      throw new Error(`cannot use the database that DATABASE_URL names${advice}`, { cause: error });
    }
    this.#databaseProblem = `the database cannot be reached: ${errorText(error)}`;
    this.#limited.log(
      'warn',
      'database_awaited',
      { event: 'database_awaited', failures, error: errorText(error) },
      'the database cannot be reached; waiting for it, not ready',
    );
    await pause(
      systemClock,
      backoffDelayMs(systemClock, DATABASE_RETRY, failures),
      this.#abort.signal,
    );
  }

  async #stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all([this.relay.stop(), this.#captureCheck.stop(), this.#selfCheck.stop()]);
    await this.#emf?.stop();
    this.#aws.destroy();
    await Promise.all([this.#health.stop(), this.#inspect.stop()]);
    this.#log.info({ event: 'stopped' }, 'stopped');
  }
}

export interface DaemonDeps {
  readonly config: Config;
  readonly database: DatabaseAccess;
  readonly log: Logger;
  /** Sees what `log` prints. */
  readonly problems: RecentProblems;
  /** Writes a line to stdout. */
  print(line: string): void;
}
