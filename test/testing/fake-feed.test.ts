import { expect, onTestFinished, test } from 'vitest';
import { fakeFeed } from '../../src/testing/fake-feed.ts';

function start() {
  const fake = fakeFeed();
  onTestFinished(() => fake.feed.close());
  const heard: unknown[] = [];
  fake.feed.onMessage(({ data }) => heard.push(data));
  const statuses: string[] = [];
  fake.feed.onStatus((status) => statuses.push(status));
  return { ...fake, heard, statuses };
}

test('its snapshot sees transactions of any number', async () => {
  const { push, snapshot, heard } = start();
  push({ type: 'A', data: 1, tx: '5000' });
  push({ type: 'A', data: 2, tx: '12' }, { type: 'A', data: 3 });
  await expect.poll(() => heard).toEqual([1, 2, 3]);
  expect(snapshot()).toMatch(/^5002\./);
});

test('frames wait for the next socket after a cut, reconnect() and a DISCONNECT, and before the first', async () => {
  const { feed, push, ready, cut, heard } = start();
  push({ type: 'A', data: 'lost' });
  cut();
  push({ type: 'A', data: 'early' });
  ready();
  await expect.poll(() => [feed.status, heard]).toEqual(['live', ['early']]);
  feed.reconnect();
  push({ type: 'A', data: 'after reconnect' });
  await expect.poll(() => heard).toContain('after reconnect');
  ready();
  await expect.poll(() => feed.status).toBe('live');
  push({ type: 'DISCONNECT' });
  push({ type: 'A', data: 'after DISCONNECT' });
  await expect.poll(() => heard).toContain('after DISCONNECT');
  expect(heard).toEqual(['early', 'after reconnect', 'after DISCONNECT']);
});

test('waitFor hears all of a WebSocket message first, and is over when the feed is', async () => {
  const { feed, push, ready, heard } = start();
  ready();
  let heardBy: unknown[] = [];
  const waited = feed.waitFor('1000').then(() => {
    heardBy = [...heard];
  });
  push({ type: 'A', data: 1, tx: '1000' }, { type: 'A', data: 2, tx: '1000' });
  await waited;
  expect(heardBy).toEqual([1, 2]);
  const never = feed.waitFor('7');
  feed.close();
  await expect(never).rejects.toThrow('nothing of transaction 7 came');
  await expect(feed.waitFor('7')).rejects.toThrow('nothing of transaction 7 came');
});

test('rooms that are asked for are granted', async () => {
  const { feed, ready } = start();
  ready();
  await expect.poll(() => feed.status).toBe('live');
  expect(await feed.setRooms(['a', 'b', 'a'])).toEqual({ rooms: ['a', 'b'], refused: [] });
  expect(await feed.join('c')).toEqual({ rooms: ['a', 'b', 'c'], refused: [] });
  expect(await feed.leave('a')).toEqual({ rooms: ['b', 'c'], refused: [] });
  expect(() => feed.join('x,y')).toThrow(/rooms: "x,y" is empty or has commas/);
  const joining = feed.join('d');
  feed.close();
  await expect(joining).rejects.toThrow('the feed is closed');
  await expect(feed.join('e')).rejects.toThrow('the feed is closed');
});

test('the server says who is in a room', async () => {
  const { feed, presence } = fakeFeed();
  const counts: number[] = [];
  const stop = feed.presence('team-7').subscribe(({ count }) => counts.push(count));
  expect(feed.presence('team-7').state).toEqual({ users: new Map(), count: 0 });
  presence('team-7', { ann: { n: 1, info: { name: 'Ann' } }, bob: { n: 2 } });
  await expect.poll(() => counts).toEqual([2]);
  expect(feed.presence<{ name: string }>('team-7').state.users.get('ann')?.info?.name).toBe('Ann');
  expect(feed.presence('team-8').state.count).toBe(0);
  stop();
  presence('team-7', 700);
  await expect.poll(() => feed.presence('team-7').state).toEqual({ users: new Map(), count: 700 });
  expect(counts).toEqual([2]);
});
