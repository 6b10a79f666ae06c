import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ALARMS } from '../../deploy/alarms.ts';
import { World } from '../support/world.ts';

/** The metrics of ours that a daemon has, with their types and the labels of each line. */
async function metricsOf(port: unknown) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const types = new Map(
    [...text.matchAll(/^# TYPE (rowcast_\w+) (\w+)$/gm)].map(([, name, type]) => [name, type]),
  );
  const value = (line: string) =>
    Number(new RegExp(`^${line.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1]);
  return { text, types, value };
}

test('each metric is documented, has help, and is on the dashboard; and nothing else is', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  const { port } = await daemon.logged('starting');
  await daemon.logged('started');
  const { text, types } = await metricsOf(port);
  const [documentation, dashboard] = await Promise.all([
    readFile('docs/metrics.md', 'utf8'),
    readFile('docs/grafana.json', 'utf8'),
  ]);
  const names = [...types.keys()].sort();
  expect(names.length).toBeGreaterThan(25);
  const documented = [...documentation.matchAll(/^\| (`.*?`) \| (\w+)/gm)].flatMap(
    ([, cell = '', type]) => [...cell.matchAll(/`(rowcast_\w+)/g)].map(([, name]) => [name, type]),
  );
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(types));
  const shown = new Set(
    [...dashboard.matchAll(/rowcast_\w+/g)].map(([name]) => name.replace(/_bucket$/, '')),
  );
  expect([...shown].sort()).toEqual(names);
  for (const name of names) expect(text).toMatch(new RegExp(`^# HELP ${name} \\S.{10,}\\.$`, 'm'));
  // One EMF directive holds a hundred.
  expect(text.match(/^rowcast_(?!\w+_bucket)/gm)?.length).toBeLessThan(100);
  expect(ALARMS.length).toBeGreaterThan(0);
});

test('metrics count frames and bytes by outcome, joins, replays, polls, rings, reconnects, events for nobody', async () => {
  const world = await World.start();
  const daemon = world.daemon({
    ROWCAST_RETENTION: '1 second',
    ROWCAST_RETENTION_INTERVAL_MS: '100',
  });
  const { port } = await daemon.logged('starting');
  await daemon.logged('asleep');
  const client = await world.live({ batch: '1' });
  await world.sql(`insert into messages (content) select 'row' from generate_series(1, 5)`);
  await client.received(5);
  await world.sql(`select rowcast.send_to_user('nobody', 'note', '1')`);
  const again = await world.live({ cursor: client.frames[1]?.cursor as string });
  await again.received(5);
  world.posts.fault = () => ({ status: 503 });
  await world.sql(`insert into messages (content) values ('late')`);
  await daemon.logged('gateway_down');
  world.heal();
  await client.received(6);
  await world.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'rowcast %'`,
  );
  await expect
    .poll(async () => {
      const { value } = await metricsOf(port);
      return {
        // Five rows of one statement go out as one batch.
        frames:
          value('rowcast_frames_total{outcome="delivered"}') >=
          value('rowcast_posts_total{outcome="delivered"}') + 4,
        bytes: value('rowcast_posted_bytes_total{outcome="failed"}') > 100,
        replayed: value('rowcast_replayed_frames_total') >= 5,
        joins: value('rowcast_joins_total') >= 2,
        recovered: value('rowcast_ready_total{recovered="true"}') >= 2,
        unaddressed: value('rowcast_events_unaddressed_total') >= 1,
        events: value('rowcast_events_read_total') >= 7,
        rings: value('rowcast_doorbell_rings_total') >= 1,
        polls: value('rowcast_log_reads_total{found="nothing"}') >= 1,
        windows: value('rowcast_log_reads_total{found="rows"}') >= 3,
        gateway: value('rowcast_reconnects_total{service="gateway"}'),
        database: value('rowcast_reconnects_total{service="database"}'),
        doorbell: value('rowcast_reconnects_total{service="doorbell"}'),
        removed: value('rowcast_events_removed_total'),
        connections: value('rowcast_connections{feed="scan"}'),
        role: value('rowcast_role{role="leader"}'),
      };
    })
    .toEqual({
      frames: true,
      bytes: true,
      replayed: true,
      joins: true,
      recovered: true,
      unaddressed: true,
      events: true,
      rings: true,
      polls: true,
      windows: true,
      gateway: 1,
      database: 1,
      doorbell: 1,
      removed: 7,
      connections: 2,
      role: 1,
    });
});
