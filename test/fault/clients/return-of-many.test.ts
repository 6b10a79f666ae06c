import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { expect, test } from 'vitest';
import { toItem } from '../../../src/connections/connection.ts';
import { GatewaySink } from '../../support/gateway/gateway-sink.ts';
import { World } from '../../support/world.ts';

const MANY = 10_000;
const LIMIT = 2500;

test('ten thousand clients that come back at once: each gets what it missed and READY, within the post limit, from few reads', async () => {
  const world = await World.start();
  const sink = await GatewaySink.start();
  const relay = await world.relay();
  const client = await world.live();
  const cursor = (await client.ready()).cursor as string;
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 20) n`);
  await client.received(20);
  await relay.stop();
  const now = Date.now();
  const items = Array.from({ length: MANY }, (_, n) =>
    toItem({
      connectionId: `many-${n}`,
      userId: `user-${n}`,
      connectedAt: now,
      ttl: Math.floor(now / 1000) + 3600,
      cursor,
      batch: true,
    }),
  );
  for (let i = 0; i < MANY; i += 25) {
    const RequestItems = {
      [world.table.table]: items.slice(i, i + 25).map((Item) => ({ PutRequest: { Item } })),
    };
    await world.table.client.send(new BatchWriteCommand({ RequestItems }));
  }
  const reads = async () => {
    const [row] = await world.sql<{ calls: string }>(
      `select idx_scan + seq_scan as calls from pg_stat_user_tables where relid = 'rowcast.event'::regclass`,
    );
    return Number(row?.calls);
  };
  const before = await reads();

  const daemon = world.daemon({
    WEBSOCKET_ENDPOINT: sink.url,
    POST_RPS_LIMIT: String(LIMIT),
    DIRECTORY_REFRESH_MS: '60000',
  });
  await sink.all(
    items.map(({ connectionId }) => String(connectionId)),
    (payload) => payload.includes('"READY"'),
  );
  daemon.process.kill('SIGTERM');
  await daemon.exited;

  for (const [id, posts] of sink.posts) {
    if (!id.startsWith('many-')) continue;
    const ids = posts.flatMap((text) =>
      [...text.matchAll(/"content":"(\d+)"/g)].map(([, content]) => content),
    );
    expect(ids).toEqual(Array.from({ length: 20 }, (_, n) => String(n + 1)));
  }
  // The reads of ten thousand, and the polls of the feed meanwhile.
  expect((await reads()) - before).toBeLessThan(MANY / 2);
  const seconds = ((sink.postedAt.at(-1) as number) - (sink.postedAt[0] as number)) / 1000;
  expect(sink.postedAt.length / seconds).toBeLessThan(LIMIT * 1.2);
});
