import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ConnectionDirectory } from './connections/connection-directory.ts';
import type { PostOutcome } from './pusher/post-outcome.ts';
import type { Relay } from './relay.ts';

const OUTCOMES: readonly PostOutcome['kind'][] = ['delivered', 'gone', 'throttled', 'rejected', 'failed'];

/** What the relay did, in Prometheus's format: counted from its events, so that delivery knows nothing of metrics. */
export class Metrics {
  readonly #registry = new Registry();

  constructor(deps: { relay: Relay; directory: ConnectionDirectory }) {
    const { relay, directory } = deps;
    collectDefaultMetrics({ register: this.#registry });
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
      registers: [this.#registry],
    });
    // Bound to their label once: a post must not pay for looking it up.
    const outcomes = Object.fromEntries(OUTCOMES.map((kind) => [kind, posts.labels(kind)])) as Record<
      PostOutcome['kind'],
      Counter.Internal
    >;
    relay
      .on('read', (count) => events.inc(count))
      .on('committed', () => commits.inc())
      .on('asleep', () => sleeps.inc())
      .on('awake', () => wakes.inc())
      .on('behind', () => behind.inc())
      .on('posted', (_, { kind }) => outcomes[kind].inc());
    this.#gauge('rowcast_connections', 'Connections that are known.', () => directory.size);
    this.#gauge('rowcast_leader', '1 while this relay leads.', () => (relay.role === 'leader' ? 1 : 0));
  }

  /** As `/metrics` answers it. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(value());
      },
    });
  }
}
