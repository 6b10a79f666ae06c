import { expect, test } from 'vitest';
import { loadDeploySettings } from '../settings.ts';
import { EXISTING, JWT } from './contexts.ts';

test.each([
  [{ ...JWT, jwksUrl: 'https://issuer/keys' }, /jwtSecretArn, jwksUrl: give one of the two/],
  [{ ...JWT, vpcId: 'vpc-0123456789abcdef0' }, /vpcId, zones, subnetIds: give all three/],
  [
    { ...EXISTING, databaseSecretArn: '' },
    /databaseSecretArn, databaseResourceId: give one of the two/,
  ],
  [
    { ...EXISTING, databaseUser: '' },
    /databaseHost, databaseUser, databaseSecurityGroupId: give all three/,
  ],
  [
    { ...JWT, relays: '0', rollout: 'blue' },
    /rollout: is neither overlap nor recreate\n.*relays: is not a whole number from 1 to 10/,
  ],
  [{ ...JWT, directoryFeed: 'stream', relays: 3 }, /directoryFeed: .*relays is at most 2/],
  [{ ...JWT, cpu: 512, memoryMiB: 512 }, /cpu, memoryMiB: Fargate has no task of 512 and 512/],
  [{ ...JWT, databasehost: 'x' }, /databasehost: is no setting of this app/],
  [
    { ...EXISTING, databaseHost: '', databaseUser: '', databaseSecurityGroupId: '' },
    /vpcId, databaseHost: .* come together/,
  ],
])('settings that are wrong are named, all at once: %j', (context, message) => {
  expect(() => loadDeploySettings(context)).toThrow(message);
});

test.each([
  [['eu-west-1a', 'eu-west-1b']],
  ['["eu-west-1a", "eu-west-1b"]'],
  ['eu-west-1a, eu-west-1b'],
])('a list is written in cdk.json, as JSON or with commas: %j', (zones) => {
  expect(loadDeploySettings({ ...EXISTING, zones }).network?.zones).toEqual([
    'eu-west-1a',
    'eu-west-1b',
  ]);
});

test.each([['["eu-west-1a", 7]'], ['[eu-west-1a'], [[7]], [{ a: 1 }]])(
  'what is no list is named: %j',
  (zones) => {
    expect(() => loadDeploySettings({ ...EXISTING, zones })).toThrow(/zones/);
  },
);
