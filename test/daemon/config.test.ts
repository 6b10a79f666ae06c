import { expect, test } from 'vitest';
import { loadConfig } from '../../src/daemon/config.ts';

const GOOD = {
  DATABASE_URL: 'postgres://user:pa%20ss@db:5432/app',
  WEBSOCKET_ENDPOINT: 'https://abc.execute-api.eu-west-1.amazonaws.com/prod',
  AWS_REGION: 'eu-west-1',
};
const problems = (env: Record<string, string>) => {
  try {
    loadConfig(env);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

test('three settings are enough, and the others have their defaults', () => {
  expect(loadConfig(GOOD)).toMatchObject({
    connectionsTable: 'websocket_connections',
    port: 8080,
    logLevel: 'info',
    migrateOnStart: true,
    relay: { doorbell: true, maxFrameBytes: 32_000 },
  });
});

test('all problems are reported at once, each naming its setting, and no value is shown', () => {
  const message = problems({
    ...GOOD,
    DATABASE_URL: 'mysql://user:hunter2@db/app',
    PORT: '99999',
    MAX_FRAME_BYTES: '10',
    LOG_LEVEL: 'loud',
    ROWCAST_DOORBELL: 'maybe',
    AWS_REGION: 'mars',
  });
  for (const name of [
    'DATABASE_URL',
    'PORT',
    'MAX_FRAME_BYTES',
    'LOG_LEVEL',
    'ROWCAST_DOORBELL',
    'AWS_REGION',
  ])
    expect(message).toContain(name);
  expect(message).not.toContain('hunter2');
  expect(message.split('\n')).toHaveLength(7);
});

test.each([
  'eu-central-1',
  'us-gov-west-1',
  'cn-north-1',
  'eusc-de-east-1',
  'us-isof-south-1',
  'xx-new-partition-east-12',
])('the Region %s may exist, and its callback URLs need a stage', (region) => {
  expect(loadConfig({ ...GOOD, AWS_REGION: region }).region).toBe(region);
  const url = `https://abc.execute-api.${region}.amazonaws.example`;
  expect(problems({ ...GOOD, WEBSOCKET_ENDPOINT: url })).toMatch(/names no stage/);
  expect(problems({ ...GOOD, WEBSOCKET_ENDPOINT: `${url}/prod` })).toBe('');
});

test('a retention that is no time is told once, and a long one needs no limit of its own', () => {
  expect(problems({ ...GOOD, ROWCAST_RETENTION: 'forever' }).split('\n')).toHaveLength(2);
  expect(loadConfig({ ...GOOD, ROWCAST_RETENTION: '30 days' }).relay.retention).toMatchObject({
    keep: '30 days',
    keepUndelivered: '30 days',
  });
  expect(
    problems({ ...GOOD, ROWCAST_RETENTION: '2 days', ROWCAST_RETENTION_LIMIT: '1 day' }),
  ).toMatch(/ROWCAST_RETENTION_LIMIT: is shorter than ROWCAST_RETENTION/);
});

test('a missing setting is told with what to set it to; an empty one is a missing one', () => {
  expect(problems({ WEBSOCKET_ENDPOINT: ' ' })).toMatch(
    /DATABASE_URL: is missing; set it to[\s\S]*WEBSOCKET_ENDPOINT: is missing; set it to[\s\S]*AWS_REGION: is missing/,
  );
});

test.each([
  [
    'wss://abc.execute-api.eu-west-1.amazonaws.com/prod/',
    'https://abc.execute-api.eu-west-1.amazonaws.com/prod',
  ],
  ['https://push.example.com', 'https://push.example.com'],
  ['https://push.example.com/base//', 'https://push.example.com/base'],
  ['ws://127.0.0.1:7401/local', 'http://127.0.0.1:7401/local'],
])('the callback URL %s is understood as %s', (given, understood) => {
  expect(loadConfig({ ...GOOD, WEBSOCKET_ENDPOINT: given }).gatewayEndpoint).toBe(understood);
});

test.each([
  ['https://push.example.com/prod?x=1', /query/],
  ['https://abc.execute-api.eu-west-1.amazonaws.com/', /names no stage/],
  ['http://push.example.com/prod', /plain http/],
  ['https://a:b@push.example.com/prod', /user or password/],
  ['https://push.example.com/prod/@connections', /@connections/],
  ['push.example.com', /not a URL/],
])('the callback URL %s is refused', (given, reason) => {
  expect(problems({ ...GOOD, WEBSOCKET_ENDPOINT: given })).toMatch(reason);
});
