import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { contents } from '../../support/client/contents.ts';
import { startTable } from '../../support/dynamodb/dynamodb.ts';
import { FaultProxy } from '../../support/gateway/fault-proxy.ts';
import { TcpProxy } from '../../support/tcp-proxy.ts';
import { World } from '../../support/world.ts';

test.each([{ status: 503 }, { status: 403 }, 'reset'] as const)(
  'a gateway that is down (%j) is probed by single posts, the cursor stays, and recovery is at once',
  async (fault) => {
    const world = await World.start();
    const relay = await world.relay();
    const clients = await Promise.all(Array.from({ length: 30 }, () => world.live()));
    await world.sql(`insert into messages (content) values ('before')`);
    await Promise.all(clients.map((client) => client.received(1)));
    await once(relay, 'committed');
    const before = await world.sql('select snapshot::text from rowcast.cursor');
    world.posts.fault = () => fault;
    await world.sql(`insert into messages (content) select n::text from generate_series(1, 10) n`);
    expect(await once(relay, 'gateway')).toEqual([
      'down',
      expect.objectContaining({ kind: 'failed' }),
    ]);
    const posts = world.posts.posts;
    for (let probes = 0; probes < 3; probes++) await once(relay, 'posted');
    // Posts that were under way when it went down, and the probes.
    expect(world.posts.posts - posts).toBeLessThanOrEqual(30 + 5);
    expect(await world.sql('select snapshot::text from rowcast.cursor')).toEqual(before);
    world.heal();
    await Promise.all(clients.map((client) => client.received(11)));
    for (const client of clients)
      expect([...new Set(contents(client.events))]).toEqual([
        'before',
        ...Array.from({ length: 10 }, (_, i) => String(i + 1)),
      ]);
  },
);

test('without DynamoDB those connected are served', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live();
  await world.table.stop();
  await world.sql(`insert into messages (content) values ('from memory')`);
  await client.received(1);
});

test('while DynamoDB throttles, those connected are served, and new connections become known afterwards', async () => {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const proxy = await FaultProxy.start(table.endpoint);
  onTestFinished(() => proxy.stop());
  const world = await World.start({ table });
  const daemon = world.daemon({ AWS_ENDPOINT_URL_DYNAMODB: proxy.url });
  await daemon.logged('leading');
  const client = await world.live();
  proxy.fault = () => ({ status: 400, type: 'ThrottlingException' });
  const late = await world.connect();
  await world.sql(`insert into messages (content) values ('meanwhile')`);
  await client.received(1);
  await daemon.logged('directory_scan_failed');
  proxy.fault = () => null;
  await late.ready();
});

test('half-open connections to Postgres are found, and what was committed meanwhile arrives', async () => {
  const world = await World.start();
  const { hostname, port } = new URL(world.database.url);
  const proxy = await TcpProxy.start({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  await world.relay(
    {},
    Object.assign(new URL(world.database.url), { host: `127.0.0.1:${proxy.port}` }).href,
  );
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('before')`);
  await client.received(1);
  proxy.freeze();
  await world.sql(`insert into messages (content) values ('while frozen')`);
  await client.received(2);
});

test('half-open connections to DynamoDB are found, and new connections become known', async () => {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const { hostname, port } = new URL(table.endpoint);
  const proxy = await TcpProxy.start({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  const world = await World.start({ table });
  await world
    .daemon({ AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${proxy.port}` })
    .logged('leading');
  await world.live();
  proxy.freeze();
  await world.live();
});

test('a half-open connection to the gateway is found', async () => {
  const world = await World.start();
  const { hostname, port } = new URL(world.posts.url);
  const proxy = await TcpProxy.start({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.stop());
  await world
    .daemon({ WEBSOCKET_ENDPOINT: `http://127.0.0.1:${proxy.port}/test` })
    .logged('leading');
  const client = await world.live();
  proxy.freeze();
  await world.sql(`insert into messages (content) values ('x')`);
  await client.received(1);
});

test('with ROWCAST_DOORBELL=off nobody rings, two-phase commit works, and rows arrive', async () => {
  const world = await World.start();
  await world.relay({ doorbell: false });
  const client = await world.live();
  const writer = await world.database.client();
  const name = `prepared_${Date.now()}`;
  await writer.query('begin');
  await writer.query(`insert into messages (content) values ('prepared')`);
  await writer.query(`prepare transaction '${name}'`);
  await world.sql(`insert into messages (content) values ('meanwhile')`);
  await client.received(1);
  await writer.query(`commit prepared '${name}'`);
  writer.release();
  await client.received(2);
  expect(contents(client.events)).toEqual(['meanwhile', 'prepared']);
});
