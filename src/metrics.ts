import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ConnectionDirectory } from './connections/connection-directory.ts';
import type { Lag } from './listener/log-lag.ts';
import type { PostOutcome } from './pusher/post-outcome.ts';
import type { Relay } from './relay.ts';

const OUTCOMES: readonly PostOutcome['kind'][] = ['delivered', 'gone', 'throttled', 'rejected', 'failed'];

/** From a gateway in the same Region to one that is about to time out. */
const POST_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

/** What the relay did, in Prometheus's format: counted from its events, so that delivery knows nothing of metrics. */
export class Metrics {
  readonly registry = new Registry();

  constructor(deps: { relay: Relay; directory: ConnectionDirectory }) {
    const { relay, directory } = deps;
    collectDefaultMetrics({ register: this.registry });
    const events = this.#counter('rowcast_events_read_total', 'Events read from the log for delivery.');
    const commits = this.#counter('rowcast_cursor_commits_total', 'Times the cursor was committed.');
    const sleeps = this.#counter('rowcast_doorbell_sleeps_total', 'Times the relay found nothing and went to sleep.');
    const wakes = this.#counter(
      'rowcast_doorbell_wakes_total',
      'Times the relay was woken, by a ring or by its slow poll.',
    );
    const behind = this.#counter(
      'rowcast_connections_behind_total',
      'Times a connection fell behind and went on from the log.',
    );
    const posts = new Counter({
      name: 'rowcast_posts_total',
      help: 'Posts to API Gateway, by what became of them.',
      labelNames: ['outcome'] as const,
      registers: [this.registry],
    });
    // From the first line on: what never happened is 0, not missing.
    for (const outcome of OUTCOMES) posts.inc({ outcome }, 0);
    // Bound to their label once: a post must not pay for looking it up.
    const outcomes = Object.fromEntries(OUTCOMES.map((kind) => [kind, posts.labels(kind)])) as Record<
      PostOutcome['kind'],
      Counter.Internal
    >;
    const duration = new Histogram({
      name: 'rowcast_post_duration_seconds',
      help: 'Time from the start of a post to its answer.',
      buckets: POST_SECONDS,
      registers: [this.registry],
    });
    let lag: Lag | undefined;
    // Of the leader's last measurement: a relay that lost the lease has none.
    const leading = () => (relay.role === 'leader' ? lag : undefined);
    relay
      .on('lag', (measured) => {
        lag = measured;
      })
      .on('role', () => {
        lag = undefined;
      })
      .on('read', (count) => events.inc(count))
      .on('committed', () => commits.inc())
      .on('asleep', () => sleeps.inc())
      .on('awake', () => wakes.inc())
      .on('behind', () => behind.inc())
      .on('posted', (_, { kind }, tookMs) => {
        outcomes[kind].inc();
        duration.observe(tookMs / 1000);
      });
    this.#gauge(
      'rowcast_lag_events',
      'Events committed and not delivered to all; of more than 10,000 so many.',
      () => leading()?.events ?? 0,
    );
    this.#gauge('rowcast_lag_seconds', 'How long the oldest of them has waited.', () => leading()?.seconds ?? 0);
    this.#gauge(
      'rowcast_notification_queue_usage',
      "Of Postgres's queue of notifications, 0 to 1.",
      () => leading()?.notificationQueueUsage ?? 0,
    );
    this.#gauge('rowcast_connections', 'Connections that are known.', () => directory.size);
    this.#gauge('rowcast_leader', '1 while this relay leads.', () => (relay.role === 'leader' ? 1 : 0));
  }

  /** As `/metrics` answers it. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] });
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
