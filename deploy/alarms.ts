/**
 * The alarms, as data: deploy/monitoring.ts makes them, a test compares them with
 * docs/operations.md.
 */
export interface AlarmRule {
  readonly name: string;
  readonly source: 'relay' | 'api' | 'connect' | 'table';
  readonly metric: string;
  readonly statistic: string;
  readonly threshold: number;
  /** Alarms below the threshold, not above. */
  readonly below?: true;
  /** How many of five minutes must be bad: metrics arrive late. */
  readonly minutesOfFive: number;
  /** Without data something is wrong. */
  readonly silenceIsBad?: true;
  readonly means: string;
  readonly first: string;
}

export const ALARMS: readonly AlarmRule[] = [
  {
    name: 'LeaderMissing',
    source: 'relay',
    metric: 'leader',
    statistic: 'Maximum',
    threshold: 1,
    below: true,
    minutesOfFive: 3,
    silenceIsBad: true,
    means: 'No relay delivers; events wait in the log.',
    first: "read the relay's log for database_lost, database_copied or a stopped task.",
  },
  {
    name: 'CaptureBroken',
    source: 'relay',
    metric: 'tables_uncaptured',
    statistic: 'Maximum',
    threshold: 0,
    minutesOfFive: 3,
    means: 'Rows of a watched table are not captured, and reach nobody.',
    first:
      'read capture_broken in the log: it says what to call; rows written meanwhile are not delivered later.',
  },
  {
    name: 'DoorbellTaken',
    source: 'relay',
    metric: 'doorbell_taken',
    statistic: 'Maximum',
    threshold: 0,
    minutesOfFive: 1,
    means: "A session that is no relay's has the doorbell's lock: rows come up to 0.1 s later.",
    first: 'read doorbell_taken in the log, which names the session, and end it.',
  },
  {
    name: 'EventsImpaired',
    source: 'relay',
    metric: 'events_impaired_nobody',
    statistic: 'Sum',
    threshold: 0,
    minutesOfFive: 1,
    means: 'Events could not be captured or read, and reach nobody.',
    first:
      'read event_impaired in the log, and run rowcast trace with its eventId; then let clients fetch again.',
  },
  {
    name: 'Lag',
    source: 'relay',
    metric: 'lag_seconds',
    statistic: 'Maximum',
    threshold: 30,
    minutesOfFive: 3,
    means: 'Committed events wait for longer than 30 s.',
    first:
      'look at posts by outcome: throttled, failed, or more events than POST_RPS_LIMIT lets out.',
  },
  {
    name: 'PostsFail',
    source: 'relay',
    metric: 'posts_failed',
    statistic: 'Sum',
    // While the gateway is down one post at a time probes it, every other second.
    threshold: 20,
    minutesOfFive: 3,
    means: 'API Gateway refuses posts, fails or times out.',
    first:
      'read gateway_down in the log: its outcome names status and reason; 403 is a stage, a right or a VPC endpoint.',
  },
  {
    name: 'PostsThrottled',
    source: 'relay',
    metric: 'posts_throttled',
    statistic: 'Sum',
    threshold: 100,
    minutesOfFive: 5,
    means: "The account's quota of posts is used up, by this API or another of the account.",
    first:
      'lower POST_RPS_LIMIT so that other APIs live, and ask AWS for a higher quota (L-8A5B8E43).',
  },
  {
    name: 'ConnectionsGone',
    source: 'relay',
    metric: 'posts_gone',
    statistic: 'Sum',
    threshold: 1000,
    minutesOfFive: 3,
    means: 'Many connections are over without a $disconnect.',
    first: 'compare with ConnectCount: clients in a loop, or an outage of their network.',
  },
  {
    name: 'PostsSlow',
    source: 'relay',
    metric: 'post_duration_seconds_p99',
    statistic: 'Maximum',
    threshold: 1,
    minutesOfFive: 5,
    means: 'One post in a hundred takes longer than a second.',
    first: "look at the relay's CPU; then at AWS's health page for API Gateway.",
  },
  {
    name: 'NotificationQueue',
    source: 'relay',
    metric: 'notification_queue_usage',
    statistic: 'Maximum',
    threshold: 0.1,
    minutesOfFive: 3,
    means:
      "Postgres's queue of notifications fills: when it is full, every commit that notifies fails, in all databases.",
    first: 'find the listener that is idle in a transaction: pg_stat_activity, oldest xact_start.',
  },
  {
    name: 'ConnectFails',
    source: 'relay',
    metric: 'connect_errors',
    statistic: 'Sum',
    threshold: 0,
    minutesOfFive: 2,
    means: '$connect cannot do its work and refuses clients with 500.',
    first: "read the Lambda's log: misconfigured or connect_failed.",
  },
  {
    name: 'ConnectCrashes',
    source: 'connect',
    metric: 'Errors',
    statistic: 'Sum',
    threshold: 0,
    minutesOfFive: 2,
    means: '$connect times out or cannot start.',
    first: "read the Lambda's log for Task timed out, or an import that fails.",
  },
  {
    name: 'ConnectSlow',
    source: 'connect',
    metric: 'Duration',
    statistic: 'p99',
    threshold: 5000,
    minutesOfFive: 3,
    means: '$connect takes longer than 5 s.',
    first: "look at the token issuer's keys (JWKS_URL) and the table's latency.",
  },
  {
    name: 'DisconnectFails',
    source: 'relay',
    metric: 'disconnect_errors',
    statistic: 'Sum',
    threshold: 10,
    minutesOfFive: 3,
    means: '$disconnect fails; ttl and 410 remove what it leaves.',
    first: "read the Lambda's log: disconnect_failed.",
  },
  {
    name: 'ApiFails',
    source: 'api',
    metric: 'ExecutionError',
    statistic: 'Sum',
    threshold: 10,
    minutesOfFive: 3,
    means: 'API Gateway cannot call a Lambda.',
    first: "look at the Lambda's throttles and at the account's concurrency.",
  },
  {
    name: 'TableReadsThrottled',
    source: 'table',
    metric: 'ReadThrottleEvents',
    statistic: 'Sum',
    threshold: 0,
    minutesOfFive: 3,
    means: 'Scans of the table are throttled: new connections wait for READY.',
    first: 'set DIRECTORY_FEED=stream, or a longer DIRECTORY_REFRESH_MS.',
  },
  {
    name: 'TableWritesThrottled',
    source: 'table',
    metric: 'WriteThrottleEvents',
    statistic: 'Sum',
    threshold: 0,
    minutesOfFive: 3,
    means: '$connect cannot store connections: more than the table takes at once.',
    first: 'wait: an on-demand table doubles within 30 minutes; clients come back by themselves.',
  },
];
