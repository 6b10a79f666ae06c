// Writes docs/grafana.json: `npm run dashboard`. A dashboard is long and alike; what is particular
// of it stands here.
import { writeFile } from 'node:fs/promises';

const rate = (metric, by) =>
  `sum${by ? ` by (${by})` : ''} (rate(${metric}{job=~"$job"}[$__rate_interval]))`;
const max = (metric) => `max(${metric}{job=~"$job"})`;
const sum = (metric) => `sum(${metric}{job=~"$job"})`;
const quantile = (q) =>
  `histogram_quantile(${q}, sum by (le) (rate(rowcast_post_duration_seconds_bucket{job=~"$job"}[$__rate_interval])))`;

/** Title, unit, and expressions by their legend: a row of the dashboard holds three. */
const PANELS = [
  ['Lag', 's', { oldest: max('rowcast_lag_seconds') }],
  [
    'Waiting',
    'short',
    { events: max('rowcast_lag_events'), connections: max('rowcast_lanes_waiting') },
  ],
  [
    'State',
    'short',
    {
      leaders: sum('rowcast_leader'),
      'gateway down': max('rowcast_gateway_down'),
      asleep: max('rowcast_asleep'),
      'tables not captured': max('rowcast_tables_uncaptured'),
    },
  ],
  ['Posts', 'reqps', { '{{outcome}}': rate('rowcast_posts_total', 'outcome') }],
  ['Frames', 'ops', { '{{outcome}}': rate('rowcast_frames_total', 'outcome') }],
  ['Post time', 's', { p50: quantile(0.5), p99: quantile(0.99) }],
  ['Bytes posted', 'Bps', { '{{outcome}}': rate('rowcast_posted_bytes_total', 'outcome') }],
  ['Pace', 'reqps', { allowed: max('rowcast_posts_per_second_allowed') }],
  ['In flight', 'bytes', { read: max('rowcast_bytes_in_flight') }],
  [
    'Connections',
    'short',
    {
      '{{feed}}': `max by (feed) (rowcast_connections{job=~"$job"})`,
      joining: max('rowcast_connections_joining'),
    },
  ],
  [
    'Joins',
    'ops',
    {
      joins: rate('rowcast_joins_total'),
      'recovered {{recovered}}': rate('rowcast_ready_total', 'recovered'),
      'frames replayed': rate('rowcast_replayed_frames_total'),
    },
  ],
  [
    'Ended, behind',
    'ops',
    {
      '{{why}}': rate('rowcast_connections_ended_total', 'why'),
      behind: rate('rowcast_connections_behind_total'),
    },
  ],
  [
    'Events',
    'ops',
    {
      read: rate('rowcast_events_read_total'),
      'for nobody': rate('rowcast_events_unaddressed_total'),
      'impaired, sent as {{sent}}': rate('rowcast_events_impaired_total', 'sent'),
    },
  ],
  [
    'Reads and commits',
    'ops',
    {
      'found {{found}}': rate('rowcast_log_reads_total', 'found'),
      commits: rate('rowcast_cursor_commits_total'),
    },
  ],
  [
    'Doorbell',
    'ops',
    {
      rings: rate('rowcast_doorbell_rings_total'),
      sleeps: rate('rowcast_doorbell_sleeps_total'),
      wakes: rate('rowcast_doorbell_wakes_total'),
    },
  ],
  ['Reconnects', 'ops', { '{{service}}': rate('rowcast_reconnects_total', 'service') }],
  [
    'Retention',
    'ops',
    { removed: rate('rowcast_events_removed_total'), lost: rate('rowcast_events_lost_total') },
  ],
  ['Log on disk', 'bytes', { log: max('rowcast_log_bytes') }],
  ['Notification queue', 'percentunit', { used: max('rowcast_notification_queue_usage') }],
  ['Age of the directory', 's', { age: max('rowcast_directory_age_seconds') }],
  ['Roles', 'short', { '{{role}}': `sum by (role) (rowcast_role{job=~"$job"})` }],
];

// Grafana's own variable, not JavaScript's.
const datasource = { type: 'prometheus', uid: '$' + '{datasource}' };
const dashboard = {
  title: 'Rowcast',
  uid: 'rowcast',
  schemaVersion: 39,
  tags: ['rowcast'],
  timezone: 'browser',
  refresh: '30s',
  time: { from: 'now-3h', to: 'now' },
  templating: {
    list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' },
      {
        name: 'job',
        type: 'query',
        datasource,
        query: 'label_values(rowcast_leader, job)',
        refresh: 1,
        includeAll: true,
        allValue: '.*',
        current: { text: 'All', value: '$__all' },
      },
    ],
  },
  panels: PANELS.map(([title, unit, expressions], n) => ({
    id: n + 1,
    title,
    type: 'timeseries',
    datasource,
    gridPos: { x: (n % 3) * 8, y: Math.floor(n / 3) * 7, w: 8, h: 7 },
    fieldConfig: {
      defaults: { unit, min: 0, custom: { fillOpacity: 8, showPoints: 'never' } },
      overrides: [],
    },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
    targets: Object.entries(expressions).map(([legendFormat, expr], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      expr,
      legendFormat,
    })),
  })),
};
await writeFile(
  new URL('../docs/grafana.json', import.meta.url),
  `${JSON.stringify(dashboard, null, 1)}\n`,
);
