import { expect, onTestFinished, test } from 'vitest';
import type { Message, TableMessages } from '../../src/client/message.ts';
import { isTable, liveList } from '../../src/list/live-list.ts';
import { fakeFeed } from '../../src/testing/fake-feed.ts';
import { deleted, inserted, live, type Order, order, rows, start, updated } from './orders.ts';

test('messages of several tables and of the application are told apart, by type too', () => {
  type Messages = TableMessages<'ORDER', Order> &
    TableMessages<'ORDER_LINE', { line: number }> & { ORDER: string };
  const of = (message: Message<Messages>) => {
    if (isTable('ORDER', message)) {
      const total: number | undefined = message.data?.total;
      return `order ${total}`;
    }
    if (isTable('ORDER_LINE', message)) return `line ${message.data?.line}`;
    const own = message.data as string;
    return `own ${own}`;
  };
  const message = (type: string, data: unknown) => ({ type, data }) as Message<Messages>;
  expect(
    [
      message('UPDATE_ORDER', { total: 5 }),
      message('NEW_ORDER_LINE', { line: 7 }),
      message('ORDER', 'x'),
      message('TRUNCATE_ORDER', null),
    ].map(of),
  ).toEqual(['order 5', 'line 7', 'own x', 'order undefined']);
  // A feed without a map: its data is of unknown type, whatever the table.
  const untyped = message('NEW_ORDER', 7) as unknown as Message;
  const data: unknown = isTable('ORDER', untyped) && untyped.data;
  expect(data).toBe(7);
});

test('the list is fetched once the feed is live, and follows the messages of its table alone', async () => {
  const { list, push, fetches } = await live();
  expect([list.exact, rows(list)]).toEqual([true, ['1:new', '2:new']]);
  push(updated(order(1, 'paid')), inserted(order(3)), deleted(order(2)));
  push({ type: 'NEW_INVOICE', data: { id: 9 } }, { type: 'ORDER', data: { id: 8 } });
  await expect.poll(() => rows(list)).toEqual(['1:paid', '3:new']);
  push({ type: 'TRUNCATE_ORDER' });
  await expect.poll(() => rows(list)).toEqual([]);
  expect(fetches).toHaveLength(1);
});

test('of the messages that come during the fetch those that its snapshot has seen are dropped, and the others applied', async () => {
  const made = start();
  made.ready();
  const { answer } = await made.fetch(0);
  made.push(updated(order(1, 'paid')));
  const seen = made.snapshot();
  made.push(updated(order(1, 'sent')), deleted(order(2)));
  await answer({ rows: [order(1, 'paid'), order(2)], cursor: seen });
  await expect.poll(() => rows(made.list)).toEqual(['1:sent']);
  expect(made.seen).toEqual(['live 1:sent']);
});

test('a message that comes after the fetch, and that its snapshot had seen, does not bring an older row back', async () => {
  const made = start();
  made.ready();
  const { answer } = await made.fetch(0);
  const ahead = `1003.${made.snapshot().split('.')[1]}`;
  await answer({ rows: [order(1, 'sent')], cursor: ahead });
  await expect.poll(() => made.list.status).toBe('live');
  for (const status of ['paid', 'packed', 'sent', 'received']) made.push(updated(order(1, status)));
  await expect.poll(() => rows(made.list)).toEqual(['1:received']);
  expect(made.seen).toEqual(['live 1:sent', 'live 1:received']);
});

test('transactions in flight for the snapshot are not seen, however it orders', async () => {
  const made = start();
  made.ready();
  const { answer } = await made.fetch(0);
  made.push(
    { ...updated(order(1, 'late')), tx: '1000' },
    { ...updated(order(2, 'early')), tx: '1001' },
  );
  // xmin 1000, xmax 1002, in flight: 1000
  await answer({
    rows: [order(1), order(2, 'early')],
    cursor: `1000-2-0.${made.snapshot().split('.')[1]}`,
  });
  await expect.poll(() => rows(made.list)).toEqual(['1:late', '2:early']);
});

test('a snapshot of a replica that lags is told, and fetched again until it sees what the feed had delivered', async () => {
  const made = start();
  made.ready();
  const old = made.snapshot();
  const { answer } = await made.fetch(0);
  await answer({ rows: [order(1)], cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  made.push(updated(order(1, 'paid')));
  await expect.poll(() => rows(made.list)).toEqual(['1:paid']);
  const refreshed = made.list.refresh();
  await (await made.fetch(1)).answer({ rows: [order(1)], cursor: old });
  await refreshed;
  const again = await made.fetch(2);
  made.push(updated(order(1, 'sent')));
  await again.answer({ rows: [order(1, 'paid')], cursor: made.snapshot().replace('1002', '1001') });
  await expect.poll(() => rows(made.list)).toEqual(['1:sent']);
  expect([...new Set(made.seen)]).toEqual(['live 1:new', 'live 1:paid', 'live 1:sent']);
});

test('the first rows are shown, as stale, where they lag; messages wait until there is no gap', async () => {
  const feed = fakeFeed();
  const old = feed.snapshot();
  feed.ready();
  feed.push(inserted(order(2)));
  await expect.poll(() => feed.feed.delivered.size).toBe(1);
  const made = start({}, feed);
  await (await made.fetch(0)).answer({ rows: [order(1)], cursor: old });
  await expect.poll(() => made.list.status).toBe('stale');
  made.push(inserted(order(3)));
  await (await made.fetch(1)).answer({ rows: [order(1), order(2)], cursor: '1001.fa4efeed' });
  await expect.poll(() => made.list.status).toBe('live');
  expect(made.seen).toEqual(['stale 1:new', 'live 1:new,2:new,3:new']);
});

test('a page that a server rendered goes on from its snapshot, without a fetch', async () => {
  const feed = fakeFeed({ cursor: '1000.fa4efeed' });
  const made = start({ initial: { rows: [order(1)], cursor: '1000.fa4efeed' } }, feed);
  expect(rows(made.list)).toEqual(['1:new']);
  made.push(inserted(order(2)));
  made.ready();
  await expect.poll(() => made.list.status).toBe('live');
  expect(rows(made.list)).toEqual(['1:new', '2:new']);
  expect(made.fetches).toHaveLength(0);
  made.ready({ recovered: false });
  await (await made.fetch(0)).answer({ rows: [order(5)], cursor: made.snapshot() });
  await expect.poll(() => rows(made.list)).toEqual(['5:new']);
});

test('after a cut the list goes on without a fetch; where the feed has not recovered, it fetches', async () => {
  const made = await live();
  made.cut();
  await expect.poll(() => made.list.status).toBe('stale');
  made.push(inserted(order(3)));
  made.ready();
  await expect.poll(() => made.list.status).toBe('live');
  expect(rows(made.list)).toEqual(['1:new', '2:new', '3:new']);
  expect(made.fetches).toHaveLength(1);
  made.cut();
  made.ready({ recovered: false });
  const { answer } = await made.fetch(1);
  made.push(inserted(order(7)));
  expect(rows(made.list)).toEqual(['1:new', '2:new', '3:new']);
  await answer({ rows: [order(6)], cursor: made.snapshot().replace('1002', '1001') });
  await expect.poll(() => rows(made.list)).toEqual(['6:new', '7:new']);
});

test('an API without a snapshot works too, and says that it is not exact', async () => {
  const made = start();
  made.ready();
  const { answer } = await made.fetch(0);
  made.push(inserted(order(2)), deleted(order(1)));
  await answer([order(1)]);
  await expect.poll(() => rows(made.list)).toEqual(['2:new']);
  expect([made.list.status, made.list.exact]).toEqual(['live', false]);
});

test('keys are text, compound ones too', async () => {
  const made = await live({}, [{ id: '1', status: 'as pg has it' }]);
  made.push(updated(order(1, 'as JSON has it')));
  await expect.poll(() => rows(made.list)).toEqual(['1:as JSON has it']);
  const compound = await live({ key: ['id', 'status'] }, [order(1, 'a'), order(1, 'b')]);
  compound.push(deleted(order(1, 'a')));
  await expect.poll(() => rows(compound.list)).toEqual(['1:b']);
});

test('keys that move are fetched: where they were swapped, no message says which row is under the former one', async () => {
  const made = await live();
  made.push(
    { ...updated(order(2, 'was 1')), old: { id: 1 } },
    { ...updated(order(1, 'was 2')), old: { id: 2 } },
  );
  const { answer } = await made.fetch(1);
  expect([made.list.status, rows(made.list)]).toEqual(['stale', ['1:new', '2:new']]);
  await answer({ rows: [order(1, 'was 2'), order(2, 'was 1')], cursor: made.snapshot() });
  await expect.poll(() => rows(made.list)).toEqual(['1:was 2', '2:was 1']);
  made.push({ ...updated(order(2, 'in place')), old: order(2, 'was 1') });
  await expect.poll(() => rows(made.list)).toEqual(['1:was 2', '2:in place']);
  expect(made.fetches).toHaveLength(2);
});

test('rows that where refuses are not in the list, and leave it; columns that a message has not stay', async () => {
  const made = await live({ where: ({ status }) => status !== 'gone' }, [
    order(1, 'new', 50),
    order(2, 'gone'),
  ]);
  expect(rows(made.list)).toEqual(['1:new']);
  made.push({ type: 'UPDATE_ORDER', data: { id: 1, status: 'paid' } }, inserted(order(3, 'gone')));
  await expect.poll(() => made.list.rows).toEqual([{ id: 1, status: 'paid', total: 50 }]);
  made.push(updated(order(1, 'gone')));
  await expect.poll(() => rows(made.list)).toEqual([]);
});

test('a list with a limit is the first rows in its order, and is filled up by a fetch', async () => {
  const compare = (one: Order, other: Order) => Number(other.total) - Number(one.total);
  const table = new Map([9, 8, 7, 6, 5].map((id) => [id, order(id)]));
  const top = () => [...table.values()].sort(compare).slice(0, 3);
  const made = start({ compare, limit: 3 });
  made.ready();
  const { answer } = await made.fetch(0);
  await answer({ rows: top(), cursor: made.snapshot() });
  await expect.poll(() => made.list.status).toBe('live');
  const ids = () => made.list.rows.map(({ id }) => id);
  made.push(inserted(order(1)));
  made.push(updated(order(6, 'still beyond')));
  made.push(inserted(order(10)));
  await expect.poll(ids).toEqual([10, 9, 8]);
  made.push(updated({ ...order(8, 'in its place') }));
  await expect.poll(() => rows(made.list)).toEqual(['10:new', '9:new', '8:in its place']);
  expect(made.fetches).toHaveLength(1);
  made.push(deleted(order(9)));
  await expect.poll(ids).toEqual([10, 8]);
  made.push(inserted(order(2)));
  await (await made.fetch(1)).answer({
    rows: [order(10), order(8), order(7)],
    cursor: made.snapshot(),
  });
  await expect.poll(ids).toEqual([10, 8, 7]);
  expect(() => liveList(made.feed, { entity: 'ORDER', fetch: async () => [], limit: 3 })).toThrow(
    /limit needs compare/,
  );
});

test('a row that was too large to send is fetched with the list, and nothing else moves meanwhile', async () => {
  const made = await live();
  made.push({ type: 'UPDATE_ORDER', data: { id: 1 }, truncated: true }, updated(order(2, 'paid')));
  const { answer } = await made.fetch(1);
  expect([made.list.status, rows(made.list)]).toEqual(['stale', ['1:new', '2:new']]);
  await answer({ rows: [order(1, 'large'), order(2, 'paid')], cursor: made.snapshot() });
  await expect.poll(() => rows(made.list)).toEqual(['1:large', '2:paid']);
  made.push({ type: 'DELETE_ORDER', data: { id: 1 }, truncated: true });
  await expect.poll(() => rows(made.list)).toEqual(['2:paid']);
  expect(made.fetches).toHaveLength(2);
});

test('data as text is parsed by the application', async () => {
  const feed = fakeFeed({ dataAsText: true });
  const made = start(
    { parse: (text) => ({ id: /"id":(\d+)/.exec(text)?.[1] ?? '', status: 'x' }) },
    feed,
  );
  made.ready();
  await (await made.fetch(0)).answer({ rows: [], cursor: made.snapshot() });
  made.push({ type: 'NEW_ORDER', data: { id: 1 } });
  await expect.poll(() => made.list.rows.map(({ id }) => id)).toEqual(['1']);
});

test('a message without the key of the list has it fetched', async () => {
  const made = await live({ key: 'total' as 'id' }, [order(1, 'new', 50)]);
  made.push({ type: 'DELETE_ORDER', data: { id: 1 }, truncated: true });
  const { answer } = await made.fetch(1);
  expect(made.list.status).toBe('stale');
  await answer({ rows: [], cursor: made.snapshot() });
  await expect.poll(() => [made.list.status, rows(made.list)]).toEqual(['live', []]);
});

test('one subscriber that throws stops no other, and the same one twice is two', async () => {
  const made = await live();
  const uncaught: unknown[] = [];
  const hear = (error: unknown) => uncaught.push(error);
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', hear);
  onTestFinished(() => {
    process.removeListener('uncaughtException', hear);
    for (const listener of before) process.on('uncaughtException', listener);
  });
  let calls = 0;
  const subscriber = () => {
    calls++;
  };
  const stopThrowing = made.list.subscribe(() => {
    throw new Error('of the application');
  });
  const stop = made.list.subscribe(subscriber);
  made.list.subscribe(subscriber);
  made.push(inserted(order(3)));
  await expect.poll(() => calls).toBe(2);
  stop();
  stop();
  made.push(inserted(order(4)));
  await expect.poll(() => calls).toBe(3);
  await expect.poll(() => uncaught).toHaveLength(2);
  stopThrowing();
});
