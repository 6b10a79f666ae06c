import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { ALARMS } from '../../deploy/alarms.ts';
import { EmfReporter } from '../../src/telemetry/emf.ts';
import { World } from '../support/world.ts';

interface EmfLine {
  readonly _aws: {
    readonly Timestamp: number;
    readonly CloudWatchMetrics: readonly {
      readonly Namespace: string;
      readonly Dimensions: unknown;
      readonly Metrics: readonly { readonly Name: string; readonly Unit: string }[];
    }[];
  };
  readonly [metric: string]: unknown;
}

test('a line says what was counted since the last one, gauges as they are, and quantiles of what was observed', async () => {
  const registry = new Registry();
  const lines: EmfLine[] = [];
  const posts = new Counter({
    name: 'rowcast_posts_total',
    help: '.',
    labelNames: ['outcome'],
    registers: [registry],
  });
  new Gauge({ name: 'rowcast_connections', help: '.', registers: [registry] }).set(7);
  const seconds = new Histogram({
    name: 'rowcast_post_duration_seconds',
    help: '.',
    buckets: [1, 2, 4],
    registers: [registry],
  });
  new Gauge({ name: 'process_start_time', help: 'not ours', registers: [registry] }).set(1);
  const reporter = new EmfReporter({
    registry,
    namespace: 'Rowcast/test',
    print: (line) => lines.push(JSON.parse(line)),
  });
  posts.inc({ outcome: 'delivered' }, 5);
  for (let i = 0; i < 100; i++) seconds.observe(i < 98 ? 1.5 : 3);
  await reporter.report();
  posts.inc({ outcome: 'delivered' }, 2);
  posts.inc({ outcome: 'gone' });
  await reporter.report();
  expect(lines[0]).toMatchObject({ posts_delivered: 5, connections: 7 });
  expect(lines[0]?.post_duration_seconds_p50).toBeCloseTo(1.51, 1);
  expect(lines[0]?.post_duration_seconds_p99).toBeCloseTo(3, 1);
  const { _aws, ...second } = lines[1] as EmfLine;
  expect(second).toEqual({ posts_delivered: 2, posts_gone: 1, connections: 7 });
  expect(_aws).toEqual({
    Timestamp: expect.any(Number),
    CloudWatchMetrics: [
      {
        Namespace: 'Rowcast/test',
        Dimensions: [[]],
        Metrics: Object.keys(second).map((Name) => ({ Name, Unit: 'Count' })),
      },
    ],
  });
});

test('a daemon that is told so prints its metrics as CloudWatch reads them, the last when it stops', async () => {
  const world = await World.start();
  const daemon = world.daemon({ METRICS_EMF: 'on', METRICS_EMF_NAMESPACE: 'Rowcast/test' });
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('one')`);
  await client.received(1);
  daemon.process.kill('SIGTERM');
  expect(await daemon.exited).toBe(0);
  const line = daemon.stdout
    .map((text) => JSON.parse(text) as EmfLine)
    .find(({ _aws }) => _aws) as EmfLine;
  expect(line).toMatchObject({
    events_read: 1,
    connections: 1,
    lag_events: 0,
    notification_queue_usage: expect.any(Number),
  });
  expect(line.posts_delivered).toBeGreaterThanOrEqual(1);
  expect(line.post_duration_seconds_p99).toBeGreaterThan(0);
  expect(JSON.stringify(line).length).toBeLessThan(16_000);
  // Others are counted in the logs of the Lambdas.
  const watched = ALARMS.filter(
    ({ source, metric }) => source === 'relay' && !metric.endsWith('_errors'),
  );
  for (const { metric } of watched) expect(line, metric).toHaveProperty(metric, expect.any(Number));
});
