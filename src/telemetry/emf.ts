import type { Registry } from 'prom-client';
import type { Service } from '../service.ts';

/** Metrics are charged for by name and minute. */
const INTERVAL_MS = 60_000;
/** The quantiles of a histogram that are worth a metric each. */
const QUANTILES = { p50: 0.5, p99: 0.99 };

export interface EmfOptions {
  readonly registry: Registry;
  /** CloudWatch's namespace: one a deployment, so that no dimension is needed. */
  readonly namespace: string;
  print(line: string): void;
}

/**
 * The relay's own metrics as one line a minute in CloudWatch's embedded metric format, which
 * CloudWatch Logs makes metrics of without an agent
 * (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
 *
 * `rowcast_posts_total{outcome="gone"}` becomes `posts_gone`: of a counter what was added since the
 * last line, of a gauge its value, of a histogram the quantiles of what it has observed since then.
 * `feed` is left out of names: it never changes.
 */
export class EmfReporter implements Service {
  readonly #options: EmfOptions;
  /** Cumulative values at the last line, by metric and, in histograms, bucket. */
  readonly #last = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: EmfOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#stopped) return;
    this.#timer ??= setInterval(() => void this.report(), INTERVAL_MS);
  }

  /** With a last line: a minute of metrics is worth keeping. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.report();
  }

  async report(): Promise<void> {
    const { namespace, print } = this.#options;
    const metrics = await this.#measure();
    const directive = {
      Namespace: namespace,
      Dimensions: [[]],
      Metrics: Object.keys(metrics).map((Name) => ({ Name, Unit: unitOf(Name) })),
    };
    print(
      JSON.stringify({
        _aws: { Timestamp: Date.now(), CloudWatchMetrics: [directive] },
        ...metrics,
      }),
    );
  }

  async #measure(): Promise<Record<string, number>> {
    const measured: Record<string, number> = {};
    for (const { name, type, values } of await this.#options.registry.getMetricsAsJSON()) {
      if (!name.startsWith('rowcast_')) continue;
      const base = name.slice('rowcast_'.length).replace(/_total$/, '');
      const kind = String(type);
      if (kind === 'histogram')
        Object.assign(measured, this.#quantiles(base, values as readonly Bucket[]));
      else
        for (const { value, labels } of values) {
          const label = Object.entries(labels)
            .filter(([name]) => name !== 'feed')
            .map(([, of]) => of)
            .join('_');
          const metric = label ? `${base}_${label}` : base;
          measured[metric] = kind === 'counter' ? this.#added(metric, value) : value;
        }
    }
    return measured;
  }

  #added(key: string, value: number): number {
    const added = value - (this.#last.get(key) ?? 0);
    this.#last.set(key, value);
    return added;
  }

  /**
   * Within a bucket values are taken to be spread evenly; beyond the last bound, its bound is all
   * that is known.
   */
  #quantiles(base: string, values: readonly Bucket[]): Record<string, number> {
    const buckets = values
      .filter(({ metricName }) => metricName?.endsWith('_bucket'))
      .map(({ value, labels }) => ({
        le: Number(labels.le === '+Inf' ? Number.POSITIVE_INFINITY : labels.le),
        value,
      }))
      .map(({ le, value }) => ({ le, count: this.#added(`${base} ${le}`, value) }));
    const total = buckets.at(-1)?.count ?? 0;
    if (total === 0) return {};
    return Object.fromEntries(
      Object.entries(QUANTILES).map(([name, share]) => {
        const i = buckets.findIndex(({ count }) => count >= total * share);
        const below = buckets[i - 1] ?? { le: 0, count: 0 };
        const { le, count } = buckets[i] ?? below;
        const within = Number.isFinite(le)
          ? below.le + ((le - below.le) * (total * share - below.count)) / (count - below.count)
          : below.le;
        return [`${base}_${name}`, Math.round(within * 1e6) / 1e6];
      }),
    );
  }
}

interface Bucket {
  readonly value: number;
  readonly metricName?: string;
  readonly labels: { readonly le?: string | number };
}

function unitOf(name: string): string {
  return /seconds/.test(name) ? 'Seconds' : /bytes/.test(name) ? 'Bytes' : 'Count';
}
