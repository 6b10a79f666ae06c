import { CreateTableCommand } from '@aws-sdk/client-dynamodb';
import { expect, onTestFinished, test } from 'vitest';
import { checkTable } from '../../src/connections/table-check.ts';
import { dynamoDbClient } from '../../src/local/dynamodb.ts';
import { freePort } from '../../src/local/ports.ts';
import { checkNotifications } from '../../src/postgres/notification-check.ts';
import { startTable } from '../support/dynamodb/dynamodb.ts';
import { pgbouncer, startPooler } from '../support/postgres/pgbouncer.ts';
import { World } from '../support/world.ts';

/** A relay with these settings, and what it says of its readiness. */
async function relayOf(world: World, env: Record<string, string> = {}) {
  const daemon = world.daemon(env);
  const { port } = await daemon.logged('starting');
  return async () => {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`);
    return `${response.status} ${await response.text()}`;
  };
}

test('a relay is ready once its surroundings are found as they should be', async () => {
  const readiness = await relayOf(await World.start());
  await expect.poll(readiness).toMatch(/^200/);
});

test('a gateway that refuses posts is named with its likely causes, until it takes them', async () => {
  const world = await World.start();
  world.posts.fault = () => ({ status: 403 });
  const readiness = await relayOf(world);
  await expect
    .poll(readiness)
    .toMatch(
      /^503 .*WEBSOCKET_ENDPOINT answers 403: a wrong stage.*ManageConnections.*VPC endpoint/,
    );
  world.heal();
  await expect.poll(readiness).toMatch(/^200/);
});

test.each([
  ['/prod', /answers 403: a wrong stage/],
  ['', /answers 403: a wrong stage/],
])('an endpoint with the stage %j in place of its own is not ready', async (stage, reason) => {
  const world = await World.start();
  const endpoint = `${new URL(world.gateway.managementUrl).origin}${stage}`;
  await expect.poll(await relayOf(world, { WEBSOCKET_ENDPOINT: endpoint })).toMatch(reason);
});

test('an endpoint where nobody listens, or something else than a gateway, is not ready', async () => {
  const world = await World.start();
  const nobody = await relayOf(world, {
    WEBSOCKET_ENDPOINT: `http://127.0.0.1:${await freePort()}/prod`,
  });
  await expect.poll(nobody).toMatch(/WEBSOCKET_ENDPOINT cannot be reached/);
});

test('the table is checked for what its readers and writers need', async () => {
  const { endpoint, table, stop } = await startTable();
  const client = dynamoDbClient(endpoint);
  onTestFinished(() => stop());
  const check = (name: string, stream = false) => checkTable(client, { table: name, stream });
  // dynalite says that TTL is off, and cannot turn it on.
  expect(await check(table)).toEqual({
    problem: null,
    warning: expect.stringMatching(/turn TTL on, for the attribute ttl/),
  });
  expect((await check(table, true)).problem).toMatch(
    /has no stream; DIRECTORY_FEED=stream needs one/,
  );
  expect((await check('elsewhere')).problem).toMatch(/CONNECTIONS_TABLE elsewhere does not exist/);
  await client.send(
    new CreateTableCommand({
      TableName: 'of_users',
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [{ AttributeName: 'userId', AttributeType: 'S' }],
      KeySchema: [{ AttributeName: 'userId', KeyType: 'HASH' }],
    }),
  );
  expect((await check('of_users')).problem).toMatch(
    /has the key userId HASH .*must be connectionId \(S\)/,
  );
});

test.skipIf(!pgbouncer)(
  'a pooler in transaction mode is noticed by the notification that does not come back',
  async () => {
    const world = await World.start();
    const pooled = await startPooler(world.database.url, 'options,extra_float_digits');
    expect(await checkNotifications({ connectionString: pooled })).toMatch(
      /pooler in transaction mode.*ROWCAST_DOORBELL=off/,
    );
    expect(await checkNotifications({ connectionString: world.database.url })).toBeNull();
  },
  60_000,
);
