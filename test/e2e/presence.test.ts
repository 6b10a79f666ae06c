import { expect, test } from 'vitest';
import type { TestClient } from '../support/client/client.ts';
import { World } from '../support/world.ts';

const presenceOf = (client: TestClient, room: string) =>
  client.frames.filter((frame) => frame.type === 'PRESENCE' && frame.room === room);

test('try', async () => {
  const world = await World.start();
  await world.sql(`select rowcast.watch_presence('room:team-*')`);
  await world.relay();
  const ann = await world.live({ userId: 'ann', rooms: 'team-1,other' });
  await expect.poll(() => presenceOf(ann, 'team-1').length).toBe(1);
  const bob = await world.live({ userId: 'bob', rooms: 'team-1' });
  await expect.poll(() => presenceOf(ann, 'team-1').length).toBe(2);
  await expect.poll(() => presenceOf(bob, 'team-1').length).toBeGreaterThan(0);
  console.log(ann.messages, bob.messages);
  await expect.poll(() => world.sql('select * from rowcast.presence')).toHaveLength(2);
  console.log(
    await world.sql(
      `select *, rowcast.is_online('ann'), rowcast.is_online(1), rowcast.online_in('team-1') from rowcast.presence`,
    ),
  );
  await bob.close();
  await expect.poll(() => presenceOf(ann, 'team-1').length, { timeout: 20000 }).toBe(3);
  console.log(ann.messages);
  await expect.poll(() => world.sql('select * from rowcast.presence')).toHaveLength(1);
});
