import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { Lag } from '../log/log-lag.ts';
import type { CaptureCheck } from '../postgres/capture-check.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { Relay } from '../relay/relay.ts';
import type { LeaderState, Role } from '../relay/relay-events.ts';

const OUTCOMES: readonly PostOutcome['kind'][] = [
  'delivered',
  'gone',
  'throttled',
  'rejected',
  'failed',
];
const ROLES: readonly Role[] = ['starting', 'standby', 'leader', 'stopped'];
const SERVICES = ['database', 'doorbell', 'gateway', 'table'] as const;

/** From a gateway in the same Region to one that is about to time out. */
const POST_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

/**
 * The relay's work in Prometheus's format: counted from its events, so that delivery knows
 * nothing of metrics. Labels have few values, all known here, and each is there from the first line
 * on: 0 where it never happened. docs/metrics.md says what each is for.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #deps: MetricsDeps;

  constructor(deps: MetricsDeps) {
    this.#deps = deps;
    collectDefaultMetrics({ register: this.registry });
    this.#countPosts();
    this.#countLog();
    this.#countConnections();
    this.#measureLag();
    this.#measureState();
  }

  /** As `/metrics` answers it. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  #countPosts(): void {
    const posts = this.#byLabel(
      'rowcast_posts_total',
      'Posts to API Gateway, by what became of them.',
      'outcome',
      OUTCOMES,
    );
    const frames = this.#byLabel(
      'rowcast_frames_total',
      'Frames in those posts: a batch has several, and what is tried again counts again.',
      'outcome',
      OUTCOMES,
    );
    const bytes = this.#byLabel(
      'rowcast_posted_bytes_total',
      'Bytes of those posts.',
      'outcome',
      OUTCOMES,
    );
    const duration = new Histogram({
      name: 'rowcast_post_duration_seconds',
      help: 'Time from the start of a post to its answer.',
      buckets: POST_SECONDS,
      registers: [this.registry],
    });
    this.#deps.relay.on('posted', (_, { kind }, tookMs, payload) => {
      posts[kind]++;
      frames[kind] += payload.frames;
      bytes[kind] += payload.bytes.length;
      duration.observe(tookMs / 1000);
    });
  }

  #countLog(): void {
    const reads = this.#byLabel(
      'rowcast_log_reads_total',
      'Reads of the log, by what they found.',
      'found',
      ['rows', 'nothing'],
    );
    const events = this.#counter(
      'rowcast_events_read_total',
      'Events read from the log for delivery.',
    );
    const unaddressed = this.#counter(
      'rowcast_events_unaddressed_total',
      'Events among them that were for nobody who is live.',
    );
    const impaired = this.#byLabel(
      'rowcast_events_impaired_total',
      'Events among them that could not be captured or read whole, by what is sent: their key, or nothing to anybody.',
      'sent',
      ['key', 'nobody'],
    );
    const commits = this.#counter(
      'rowcast_cursor_commits_total',
      'Times the cursor was committed.',
    );
    const rings = this.#counter('rowcast_doorbell_rings_total', 'Notifications that were heard.');
    const sleeps = this.#counter(
      'rowcast_doorbell_sleeps_total',
      'Times the relay found nothing and went to sleep.',
    );
    const wakes = this.#counter(
      'rowcast_doorbell_wakes_total',
      'Times the relay was woken, by a ring or by its slow poll.',
    );
    const removed = this.#counter(
      'rowcast_events_removed_total',
      'Events that retention removed from the log.',
    );
    const lost = this.#counter(
      'rowcast_events_lost_total',
      'Events among them that were never delivered.',
    );
    this.#deps.relay
      .on('read', (rows) => {
        reads[rows > 0 ? 'rows' : 'nothing']++;
        events.inc(rows);
      })
      .on('impaired', (_, __, sentAs) => impaired[sentAs]++)
      .on('dispatched', (_, __, reached) => reached === 0 && unaddressed.inc())
      .on('committed', () => commits.inc())
      .on('rung', () => rings.inc())
      .on('asleep', () => sleeps.inc())
      .on('awake', () => wakes.inc())
      .on('removed', (rows) => removed.inc(rows))
      .on('lost', (rows) => lost.inc(rows));
  }

  #countConnections(): void {
    const { relay, directory } = this.#deps;
    const joins = this.#counter(
      'rowcast_joins_total',
      'Connections that were to be replayed to: new, or behind.',
    );
    const replayed = this.#counter('rowcast_replayed_frames_total', 'Frames of replays.');
    const ready = this.#byLabel(
      'rowcast_ready_total',
      'READY frames, by whether the client has everything since its cursor.',
      'recovered',
      ['true', 'false'],
    );
    const behind = this.#counter(
      'rowcast_connections_behind_total',
      'Times a connection fell behind and went on from the log.',
    );
    const ended = this.#byLabel(
      'rowcast_connections_ended_total',
      'Connections that delivery found gone (410), or closed because they could not be served.',
      'why',
      ['gone', 'closed'],
    );
    const reconnects = this.#byLabel(
      'rowcast_reconnects_total',
      'Times a service was lost, and looked for again.',
      'service',
      SERVICES,
    );
    const presence = this.#counter(
      'rowcast_presence_frames_total',
      'Frames that tell a connection who is in a room.',
    );
    let tableLost = false;
    directory
      .on('readFailed', () => {
        if (!tableLost) reconnects.table++;
        tableLost = true;
      })
      .on('upToDate', () => {
        tableLost = false;
      });
    relay
      .on('joining', () => joins.inc())
      .on('replayed', (count) => replayed.inc(count))
      .on('ready', (_, recovered) => ready[recovered ? 'true' : 'false']++)
      .on('behind', () => behind.inc())
      .on('presence', (frames) => presence.inc(frames))
      .on('ended', (_, why) => ended[why]++)
      .on('reconnect', (service) => reconnects[service]++)
      .on('gateway', (state) => state === 'down' && reconnects.gateway++);
  }

  /** Sets the leader's last measurement: a relay that lost the lease has none. */
  #measureLag(): void {
    const { relay } = this.#deps;
    const gauge = (name: string, help: string, value: (measured: Lag) => number) =>
      this.#gauge(name, help, () => (relay.lag ? value(relay.lag) : 0));
    gauge(
      'rowcast_lag_events',
      'Events committed and not delivered to all; of more than 10,000 so many.',
      ({ events }) => events,
    );
    gauge(
      'rowcast_lag_seconds',
      'How long the oldest of them has waited.',
      ({ seconds }) => seconds,
    );
    gauge(
      'rowcast_notification_queue_usage',
      "Of Postgres's queue of notifications, 0 to 1.",
      ({ notificationQueueUsage }) => notificationQueueUsage,
    );
    gauge(
      'rowcast_log_bytes',
      'Size of the log on disk, indexes and free space included.',
      ({ logBytes }) => logBytes,
    );
  }

  #measureState(): void {
    const { directory, feed, captureCheck } = this.#deps;
    let uncaptured = 0;
    captureCheck.on('checked', (tables) => {
      uncaptured = tables.length;
    });
    this.#gauge(
      'rowcast_tables_uncaptured',
      'Watched tables whose rows are not captured.',
      () => uncaptured,
    );
    new Gauge({
      name: 'rowcast_connections',
      help: 'Connections that are known, by the feed that tells of them.',
      labelNames: ['feed'],
      registers: [this.registry],
      collect() {
        this.set({ feed }, directory.size);
      },
    });
    this.#gauge(
      'rowcast_directory_age_seconds',
      'How old the knowledge of the connections table is.',
      () => (directory.asOf > 0 ? (Date.now() - directory.asOf) / 1000 : 0),
    );
    this.#measureRole();
    this.#measureLeader();
  }

  /** 0 for a relay that does not lead. */
  #measureLeader(): void {
    const state = perTurn(() => this.#deps.relay.state);
    const ofLeader = (name: string, help: string, value: (state: LeaderState) => number) =>
      this.#gauge(name, help, () => {
        const now = state();
        return now ? value(now) : 0;
      });
    ofLeader(
      'rowcast_connections_joining',
      'Connections that are being replayed to.',
      ({ joining }) => joining,
    );
    ofLeader(
      'rowcast_online_users',
      'Users who are online, where a room is watched for presence.',
      ({ online }) => online,
    );
    ofLeader(
      'rowcast_lanes_waiting',
      'Connections with something that is not delivered yet.',
      ({ lanesWaiting }) => lanesWaiting,
    );
    ofLeader(
      'rowcast_bytes_in_flight',
      'Read from the log and not delivered, about.',
      ({ bytesInFlight }) => bytesInFlight,
    );
    ofLeader(
      'rowcast_posts_per_second_allowed',
      'The pace: POST_RPS_LIMIT, or less while API Gateway throttles.',
      ({ postsPerSecond }) => postsPerSecond,
    );
    ofLeader('rowcast_gateway_down', '1 while the gateway does not answer.', ({ gatewayDown }) =>
      Number(gatewayDown),
    );
    ofLeader('rowcast_asleep', '1 while the relay waits for the doorbell.', ({ asleep }) =>
      Number(asleep),
    );
    ofLeader(
      'rowcast_doorbell_taken',
      "1 while a session that is no relay's has the doorbell's lock: rows are polled.",
      ({ doorbellTaken }) => Number(doorbellTaken),
    );
  }

  #measureRole(): void {
    const { relay } = this.#deps;
    this.#gauge('rowcast_leader', '1 while this relay leads.', () =>
      relay.role === 'leader' ? 1 : 0,
    );
    new Gauge({
      name: 'rowcast_role',
      help: '1 for the role that this relay has.',
      labelNames: ['role'],
      registers: [this.registry],
      collect() {
        for (const role of ROLES) this.set({ role }, relay.role === role ? 1 : 0);
      },
    });
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] });
  }

  /**
   * Plain numbers by the values of a label, that become a counter when somebody looks: counting in
   * prom-client costs a microsecond, three times a post.
   */
  #byLabel<Value extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly Value[],
  ): Record<Value, number> {
    const counts = Object.fromEntries(values.map((value) => [value, 0])) as Record<Value, number>;
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const value of values) this.inc({ [label]: value }, counts[value]);
      },
    });
    return counts;
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(value());
      },
    });
  }
}

export interface MetricsDeps {
  readonly relay: Relay;
  readonly directory: ConnectionDirectory;
  readonly captureCheck: CaptureCheck;
  /** How the directory is filled. */
  readonly feed: 'scan' | 'stream';
}

/**
 * Reads once for all who ask in the same turn of the event loop: a scrape is of one moment, and
 * walks the lanes once.
 */
function perTurn<Value>(read: () => Value): () => Value {
  let kept: { readonly value: Value } | undefined;
  return () => {
    if (!kept) {
      kept = { value: read() };
      setImmediate(() => {
        kept = undefined;
      });
    }
    return kept.value;
  };
}
