import { once } from 'node:events';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { PostRate } from '../../../src/pusher/post-rate.ts';
import { World } from '../../support/world.ts';

test('posts stay below the limit', async () => {
  const world = await World.start();
  await world.relay({ postsPerSecondLimit: 50 });
  const client = await world.live();
  const before = performance.now();
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 60) n`);
  await client.received(60);
  // 60 posts at 50 a second, less what the bucket held.
  expect(performance.now() - before).toBeGreaterThan(900);
});

test('direct frames go before broadcasts where posts are paced', async () => {
  const world = await World.start();
  await world.relay({ postsPerSecondLimit: 40 });
  const crowd = await Promise.all(
    Array.from({ length: 20 }, (_, n) => world.live({ userId: `user-${n}` })),
  );
  await world.sql(`select rowcast.broadcast('news', to_json(n)) from generate_series(1, 3) n`);
  await Promise.race(crowd.map((client) => client.received(1)));
  const target = crowd.at(-1);
  await world.sql(`select rowcast.send_to_user('user-19', 'direct', '1')`);
  await target?.frame(({ type }) => type === 'direct');
  const broadcasts = crowd.reduce((sum, { events }) => sum + events.length, 0);
  expect(broadcasts).toBeLessThan(20 * 3);
  await Promise.all(crowd.map((client) => client.received(3)));
  // Before its own order nothing goes: what was committed first arrives first.
  expect(target?.events.map(({ type }) => type)).toEqual(['news', 'news', 'news', 'direct']);
});

test('429 on many connections slows all down, and everything arrives', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const clients = await Promise.all(Array.from({ length: 20 }, () => world.live({ batch: '1' })));
  let throttled = 0;
  world.posts.fault = () => (throttled++ < 60 ? { status: 429 } : null);
  await world.sql(`insert into messages (content) select n::text from generate_series(1, 20) n`);
  await once(relay, 'posted');
  await Promise.all(clients.map((client) => client.received(20)));
  for (const { events } of clients)
    expect([...new Set(events.map(({ data }) => data?.content))]).toEqual(
      Array.from({ length: 20 }, (_, i) => String(i + 1)),
    );
});

test('the rate falls when many are throttled, not for one slow client, and rises again', async () => {
  const rate = new PostRate(1000, systemClock);
  for (let i = 0; i < 50; i++) rate.wasThrottled('one slow client');
  expect(rate.perSecond).toBe(1000);
  for (const id of ['a', 'b', 'c', 'd']) rate.wasThrottled(id);
  expect(rate.perSecond).toBe(700);
  // The burst is gone too: it was a hundred.
  for (let i = 0; i < 90; i++) rate.take();
  expect(rate.delayMs()).toBeGreaterThan(0);
  const perSecond = () => {
    rate.delayMs();
    return rate.perSecond;
  };
  await expect.poll(perSecond).toBe(1000);
});
