import { expect, test } from 'vitest';
import { liveList } from '../../src/list/live-list.ts';
import { fakeFeed } from '../../src/testing/fake-feed.ts';
import { deleted, inserted, live, type Order, order, rows, start, updated } from './orders.ts';

test('a fetch that fails is told and made again; rows stay and go on', async () => {
  const made = start();
  made.ready();
  (await made.fetch(0)).fail(new Error('503'));
  await expect.poll(() => made.list.status).toBe('error');
  expect(made.list.error?.message).toBe('503');
  await (await made.fetch(1)).answer({ rows: [order(1)], cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  void made.list.refresh();
  (await made.fetch(2)).fail(new Error('500'));
  await expect.poll(() => made.list.status).toBe('error');
  made.push(updated(order(1, 'paid')));
  await expect.poll(() => rows(made.list)).toEqual(['1:paid']);
});

test('a closed list hears nothing, fetches nothing, and ends the fetch that goes on', async () => {
  const made = start();
  made.ready();
  const { signal, answer } = await made.fetch(0);
  made.list.close();
  made.list.close();
  expect([signal.aborted, made.list.status]).toEqual([true, 'closed']);
  await answer({ rows: [order(1)], cursor: made.snapshot() });
  made.ready({ recovered: false });
  made.push(inserted(order(2)));
  await expect.poll(() => made.feed.delivered.size).toBe(1);
  expect([rows(made.list), made.fetches.length]).toEqual([[], 1]);
});

test('a table whose key has another name is an error that says so', async () => {
  const made = start({ key: 'uuid' as 'id' });
  made.ready();
  await (await made.fetch(0)).answer({ rows: [order(1)], cursor: made.snapshot() });
  await expect.poll(() => made.list.error?.message).toBe('liveList: no uuid in a row; see key');
});

test('a refresh during a fetch is followed by another fetch: the first may not have seen what led to it', async () => {
  const made = await live();
  const first = made.list.refresh();
  const before = await made.fetch(1);
  const second = made.list.refresh();
  await before.answer({ rows: [order(1)], cursor: made.snapshot() });
  const { answer } = await made.fetch(2);
  made.push(inserted(order(5)));
  await expect.poll(() => rows(made.list)).toEqual(['1:new', '5:new']);
  await answer({ rows: [order(1, 'changed')], cursor: '1000.fa4efeed' });
  await Promise.all([first, second]);
  expect(rows(made.list)).toEqual(['1:changed', '5:new']);
  expect(made.fetches).toHaveLength(3);
});

test('a fetch that does not heed its signal holds up neither a restart nor close()', async () => {
  const made = start();
  made.ready();
  await made.fetch(0);
  made.cut();
  made.ready({ recovered: false });
  await (await made.fetch(1)).answer({ rows: [order(1)], cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  const refreshed = made.list.refresh();
  made.list.close();
  await refreshed;
  await made.list.refresh();
  expect(made.fetches).toHaveLength(3);
});

test('a row that fetchRow brought may be newer than its message: the list is fetched, and older messages do not follow it', async () => {
  const fake = fakeFeed({ fetchRow: async () => order(1, 'third') });
  const made = start({}, fake);
  made.ready();
  await (await made.fetch(0)).answer({ rows: [order(1, 'first')], cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  made.push(
    { type: 'UPDATE_ORDER', data: { id: 1 }, truncated: true },
    updated(order(1, 'second')),
    updated(order(1, 'third')),
  );
  const { answer } = await made.fetch(1);
  await expect.poll(() => made.feed.delivered.size).toBe(3);
  await answer({ rows: [order(1, 'third')], cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  expect([...new Set(made.seen.map((each) => each.split(' ')[1]))]).toEqual(['1:first', '1:third']);
});

test('initial rows without a snapshot are shown and fetched anew, on a feed that is live as well', async () => {
  const fake = fakeFeed();
  fake.ready();
  await expect.poll(() => fake.feed.status).toBe('live');
  const made = start({ initial: [order(1, 'long ago')] }, fake);
  expect([made.list.status, rows(made.list)]).toEqual(['stale', ['1:long ago']]);
  await (await made.fetch(0)).answer({ rows: [order(1, 'now')], cursor: made.snapshot() });
  await expect.poll(() => rows(made.list)).toEqual(['1:now']);
});

test('more messages than are kept during a fetch begin another, and none is lost without a snapshot', async () => {
  const made = start();
  made.ready();
  await made.fetch(0);
  for (let n = 0; n < 11; n++)
    made.push(...Array.from({ length: 1000 }, () => updated(order(1, `of ${n}`))));
  const { answer } = await made.fetch(1);
  expect(made.fetches[0]?.signal.aborted).toBe(true);
  made.push(inserted(order(2)));
  await answer([order(1, 'of 10')]);
  await expect.poll(() => rows(made.list)).toEqual(['1:of 10', '2:new']);
});

test('after a restore, in which transactions are counted anew, the list is fetched and goes on', async () => {
  const made = await live();
  made.push({ ...inserted(order(3)), tx: '5000' });
  await expect.poll(() => rows(made.list)).toHaveLength(3);
  made.cut();
  const restored = { installation: '0dd0cafe', cursor: '300.0dd0cafe' };
  made.push({ type: 'READY', recovered: false, cursor: restored.cursor } as never);
  const { answer } = await made.fetch(1);
  await answer({ rows: [order(1, 'restored')], cursor: restored.cursor });
  await expect.poll(() => [made.list.status, rows(made.list)]).toEqual(['live', ['1:restored']]);
  made.push({ ...updated(order(1, 'paid')), tx: '301', cursor: restored.cursor });
  await expect.poll(() => rows(made.list)).toEqual(['1:paid']);
  made.feed.waitFor('5000', 1).catch(() => undefined);
  expect([...made.feed.delivered]).toEqual(['301']);
});

test('an answer that is no list of such rows leaves the rows, is told, and so is another error after it', async () => {
  const made = await live();
  const errors: (string | undefined)[] = [];
  made.list.subscribe(() => errors.push(made.list.error?.message));
  void made.list.refresh();
  await (await made.fetch(1)).answer({
    rows: [{ status: 'no id' } as Order],
    cursor: made.snapshot(),
  });
  await expect.poll(() => made.list.status).toBe('error');
  expect(rows(made.list)).toEqual(['1:new', '2:new']);
  (await made.fetch(2)).fail('as text' as never);
  await expect.poll(() => errors).toEqual(['liveList: no id in a row; see key', 'as text']);
  expect(made.list.error).toBeInstanceOf(Error);
});

test('a where that refuses what the API brings has the list fetched no more than once', async () => {
  const made = await live(
    {
      compare: (one, other) => Number(one.id) - Number(other.id),
      limit: 3,
      where: ({ id }) => id !== 2,
    },
    [order(1), order(2), order(3)],
  );
  for (const status of ['a', 'b', 'c']) {
    made.push(updated(order(1, status)));
    await expect.poll(() => rows(made.list)).toEqual([`1:${status}`, '3:new']);
  }
  expect(made.fetches).toHaveLength(1);
  made.push(deleted(order(3)));
  await (await made.fetch(1)).answer({ rows: [order(1)], cursor: made.snapshot() });
  await expect.poll(() => rows(made.list)).toEqual(['1:new']);
  expect(made.list.status).toBe('live');
});

test('options that are wrong leave nothing behind on the feed', async () => {
  const made = start();
  let heard = 0;
  const { feed } = made;
  const counted = new Proxy(feed, {
    get: (target, name) => {
      if (name === 'onMessage' || name === 'onReady' || name === 'onStatus') heard++;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const initial = [{ status: 'no id' } as Order];
  expect(() =>
    liveList<Order>(counted, { entity: 'ORDER', fetch: async () => [], initial }),
  ).toThrow('liveList: no id in a row; see key');
  expect(heard).toBe(0);
});
