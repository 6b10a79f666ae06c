import * as v from 'valibot';
import type { DatabaseSettings } from '../postgres/access.ts';
import { readPostgresUrl } from '../postgres/connection-url.ts';
import type { DeliverySettings } from '../relay/relay-events.ts';

import {
  DatabaseUrl,
  flag,
  GatewayEndpoint,
  interval,
  portOr,
  Region,
  seconds,
  whole,
} from './setting-schemas.ts';

/**
 * A relay that takes over replays to connections made since the last commit and half a minute
 * before.
 */
const IDLE_COMMIT_INTERVAL_MS = 30_000;

/** The retention of undelivered events; not shorter than that of delivered ones. */
const RETENTION_LIMIT = '7 days';

/** The daemon's settings, checked. Names of numbers carry their unit. */
export interface Config {
  readonly database: DatabaseSettings;
  readonly gatewayEndpoint: string;
  readonly connectionsTable: string;
  readonly region: string;
  readonly port: number;
  /** Address to listen on there; undefined for all. */
  readonly host: string | undefined;
  /** On the loopback interface only: what this relay knows, for `rowcast status` and `trace`. */
  readonly inspectPort: number;
  readonly logLevel: LogLevel;
  readonly migrateOnStart: boolean;
  /** Whether the migrations make and watch messages and complaints. */
  readonly watchDefaults: boolean;
  readonly directoryFeed: 'scan' | 'stream';
  readonly directoryRefreshMs: number;
  /** CloudWatch's namespace for a line of metrics a minute; null prints none. */
  readonly emfNamespace: string | null;
  readonly relay: DeliverySettings;
}

/**
 * All that is wrong with the settings, one line a setting. Values are not repeated: one may be a
 * password.
 */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `${problems.length === 1 ? 'One setting is' : `${problems.length} settings are`} wrong:\n${problems.map((line) => `  ${line}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * @throws ConfigError naming every setting that is missing or wrong, what is wrong with it and what
 * to do
 */
export function loadConfig(env: Environment): Config {
  const s = check(Settings, env);
  return {
    database: databaseOf(s),
    gatewayEndpoint: s.WEBSOCKET_ENDPOINT,
    connectionsTable: s.CONNECTIONS_TABLE,
    region: s.AWS_REGION,
    port: s.PORT,
    // Node's own "all" does without IPv6 where there is none.
    host: s.ROWCAST_HOST === ALL_ADDRESSES ? undefined : s.ROWCAST_HOST,
    inspectPort: inspectPortOf(s),
    logLevel: s.LOG_LEVEL,
    migrateOnStart: s.MIGRATE_ON_START,
    watchDefaults: s.ROWCAST_WATCH_DEFAULTS,
    directoryFeed: s.DIRECTORY_FEED,
    directoryRefreshMs: s.DIRECTORY_REFRESH_MS,
    emfNamespace: s.METRICS_EMF ? s.METRICS_EMF_NAMESPACE : null,
    relay: {
      doorbell: s.ROWCAST_DOORBELL,
      timing: {
        collectMs: s.ROWCAST_COLLECT_MS,
        stayAwakeMs: s.ROWCAST_STAY_AWAKE_MS,
        pollIntervalMs: s.ROWCAST_POLL_INTERVAL_MS,
        deafPollIntervalMs: s.ROWCAST_DEAF_POLL_INTERVAL_MS,
        idleCommitIntervalMs: IDLE_COMMIT_INTERVAL_MS,
      },
      // A page is held whole: 32 MB of rows at their largest.
      pageRows: Math.min(1000, Math.floor(32_000_000 / s.MAX_FRAME_BYTES)),
      maxBytesInFlight: s.ROWCAST_MAX_BYTES_IN_FLIGHT,
      maxFrameBytes: s.MAX_FRAME_BYTES,
      maxPostsInFlight: s.ROWCAST_MAX_POSTS_IN_FLIGHT,
      postsPerSecondLimit: s.POST_RPS_LIMIT,
      deliveryDeadlineMs: s.ROWCAST_DELIVERY_DEADLINE_MS,
      replayMaxEvents: s.ROWCAST_REPLAY_MAX_EVENTS,
      retention: {
        keep: s.ROWCAST_RETENTION,
        keepUndelivered: s.ROWCAST_RETENTION_LIMIT ?? longer(RETENTION_LIMIT, s.ROWCAST_RETENTION),
        intervalMs: s.ROWCAST_RETENTION_INTERVAL_MS,
      },
    },
  };
}

/** The settings of commands that only talk to the database. @throws ConfigError */
export function loadDatabaseConfig(env: Environment): Pick<Config, 'database' | 'logLevel'> {
  const s = check(
    onePassword(v.object({ ...DatabaseEntries, AWS_REGION: v.optional(Region) })),
    env,
  );
  return { database: databaseOf(s), logLevel: s.LOG_LEVEL };
}

/** The settings of commands that look at a running system. @throws ConfigError */
export function loadCommandConfig(env: Environment): Pick<Config, 'database' | 'inspectPort'> {
  const entries = v.object({ ...DatabaseEntries, ...PortEntries, AWS_REGION: v.optional(Region) });
  const s = check(onePassword(entries), env);
  return { database: databaseOf(s), inspectPort: inspectPortOf(s) };
}

function databaseOf(
  s: v.InferOutput<typeof Database> & { AWS_REGION?: string | undefined },
): DatabaseSettings {
  const { DATABASE_SECRET_ARN: secretId, DATABASE_AUTH: auth } = s;
  return {
    url: s.DATABASE_URL,
    region: s.AWS_REGION,
    password:
      auth === 'iam' ? { from: 'iam' } : secretId ? { from: 'secret', secretId } : { from: 'url' },
  };
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * An empty variable counts as not set: that is how compose files and task definitions leave one
 * out.
 */
function check<Schema extends v.GenericSchema>(
  schema: Schema,
  env: Environment,
): v.InferOutput<Schema> {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()));
  const result = v.safeParse(schema, given);
  if (result.success) return result.output;
  throw new ConfigError(
    result.issues.map((issue) => {
      const name = v.getDotPath(issue);
      // About several settings: the message names them.
      if (name === null) return issue.message;
      return `${name}: ${(name in given ? undefined : MISSING[name]) ?? issue.message}`;
    }),
  );
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const MISSING: Record<string, string> = {
  DATABASE_URL:
    'is missing; set it to a direct connection to your Postgres, postgres://user:password@host:5432/database',
  WEBSOCKET_ENDPOINT:
    'is missing; set it to the callback URL of your WebSocket API, https://{api}.execute-api.{region}.amazonaws.com/{stage}',
  AWS_REGION:
    'is missing; set it to the Region of the WebSocket API and the table, such as eu-central-1',
};

const DatabaseEntries = {
  DATABASE_URL: DatabaseUrl,
  DATABASE_SECRET_ARN: v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(
        /^arn:[\w-]+:secretsmanager:/,
        'is not the ARN of a Secrets Manager secret, arn:aws:secretsmanager:…',
      ),
    ),
  ),
  DATABASE_AUTH: v.optional(
    v.picklist(['password', 'iam'], 'is neither password nor iam'),
    'password',
  ),
  LOG_LEVEL: v.optional(v.picklist(LOG_LEVELS, `is not one of ${LOG_LEVELS.join(', ')}`), 'info'),
};
const Database = v.object(DatabaseEntries);

/**
 * The password is in one place, and a token of IAM's, good for everything its user may, travels
 * encrypted.
 */
function onePassword<Schema extends v.GenericSchema<unknown, v.InferOutput<typeof Database>>>(
  schema: Schema,
) {
  return v.pipe(
    schema,
    v.rawCheck(({ dataset, addIssue }) => {
      // A URL that is wrong has an issue of its own; valibot calls the dataset typed all the same.
      if (!dataset.typed || dataset.issues?.some(({ path }) => path?.[0].key === 'DATABASE_URL'))
        return;
      const { DATABASE_URL, DATABASE_SECRET_ARN, DATABASE_AUTH } = dataset.value;
      const { servers, sslMode } = readPostgresUrl(DATABASE_URL);
      const { password } = servers[0] ?? {};
      const plain = ['disable', 'no-verify'].includes(sslMode ?? '');
      const problem =
        DATABASE_AUTH === 'iam' && DATABASE_SECRET_ARN
          ? 'DATABASE_SECRET_ARN: is set beside DATABASE_AUTH=iam; leave one of the two out'
          : password && (DATABASE_SECRET_ARN || DATABASE_AUTH === 'iam')
            ? 'DATABASE_URL: has a password, which also comes from elsewhere (DATABASE_SECRET_ARN or DATABASE_AUTH=iam); leave it out here'
            : DATABASE_AUTH === 'iam' && plain
              ? 'DATABASE_URL: sslmode lets the token of DATABASE_AUTH=iam travel where others can read it; leave sslmode out'
              : undefined;
      if (problem) addIssue({ message: problem });
    }),
  );
}

const ALL_ADDRESSES = '::';

/** Not beside PORT: a second relay on this machine may have that for its own. */
const INSPECT_PORT = 7480;

const PortEntries = {
  PORT: whole(8080, 0, 65_535),
  ROWCAST_HOST: v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.ip('is not an IP address; write 127.0.0.1 for this machine only, or leave it out'),
    ),
    ALL_ADDRESSES,
  ),
  ROWCAST_INSPECT_PORT: portOr(String(INSPECT_PORT)),
};

/** A free one where PORT is a free one. */
function inspectPortOf(s: { PORT: number; ROWCAST_INSPECT_PORT?: number | undefined }): number {
  return s.ROWCAST_INSPECT_PORT ?? (s.PORT === 0 ? 0 : INSPECT_PORT);
}

const Entries = v.object({
  ...DatabaseEntries,
  WEBSOCKET_ENDPOINT: GatewayEndpoint,
  AWS_REGION: Region,
  CONNECTIONS_TABLE: v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(
        /^[a-zA-Z0-9_.-]{3,255}$/,
        'is not a DynamoDB table name (3 to 255 letters, digits, _ . -)',
      ),
    ),
    'websocket_connections',
  ),
  ...PortEntries,
  MIGRATE_ON_START: flag('true', 'false', 'true'),
  ROWCAST_WATCH_DEFAULTS: flag('on', 'off', 'on'),
  DIRECTORY_FEED: v.optional(
    v.picklist(['scan', 'stream'], 'is neither scan nor stream; leave it out for scan'),
    'scan',
  ),
  DIRECTORY_REFRESH_MS: whole(1000, 50, 600_000),
  METRICS_EMF: flag('on', 'off', 'off'),
  METRICS_EMF_NAMESPACE: v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(/^[\w./#:-]{1,255}$/, 'is not a namespace: letters, digits and _ . / # : -'),
    ),
    'Rowcast',
  ),
  MAX_FRAME_BYTES: whole(32_000, 2000, 131_072),
  POST_RPS_LIMIT: whole(4000, 1, 1_000_000),
  ROWCAST_DOORBELL: flag('on', 'off', 'on'),
  ROWCAST_COLLECT_MS: whole(10, 0, 1000),
  ROWCAST_STAY_AWAKE_MS: whole(100, 0, 60_000),
  ROWCAST_POLL_INTERVAL_MS: whole(10_000, 100, 600_000),
  ROWCAST_DEAF_POLL_INTERVAL_MS: whole(100, 10, 60_000),
  ROWCAST_MAX_BYTES_IN_FLIGHT: whole(64_000_000, 1_000_000, 4_000_000_000),
  ROWCAST_MAX_POSTS_IN_FLIGHT: whole(128, 1, 10_000),
  ROWCAST_DELIVERY_DEADLINE_MS: whole(30_000, 1000, 3_600_000),
  ROWCAST_REPLAY_MAX_EVENTS: whole(50_000, 100, 10_000_000),
  ROWCAST_RETENTION: v.optional(interval('24 hours'), '24 hours'),
  ROWCAST_RETENTION_LIMIT: v.optional(interval(RETENTION_LIMIT)),
  ROWCAST_RETENTION_INTERVAL_MS: whole(30_000, 100, 3_600_000),
});

const Settings = v.pipe(
  onePassword(Entries),
  v.forward(
    v.check(
      // A malformed interval has its own issue.
      ({ ROWCAST_RETENTION: keep, ROWCAST_RETENTION_LIMIT: limit = keep }) =>
        !(seconds(limit) < seconds(keep)),
      'is shorter than ROWCAST_RETENTION; it is how long events wait that cannot be delivered',
    ),
    ['ROWCAST_RETENTION_LIMIT'],
  ),
);

function longer(one: string, other: string): string {
  return seconds(one) < seconds(other) ? other : one;
}
