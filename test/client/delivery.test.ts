import { expect, test } from 'vitest';
import { openFeed } from '../support/dynamodb/feed.ts';
import { event, ready, ScriptedGateway } from '../support/gateway/scripted-gateway.ts';

/** Long enough for a feed that wrongly goes on to show it. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

test('only so many ids are remembered', async () => {
  const gateway = await ScriptedGateway.start((connection) =>
    connection.send(event(1), event(2), event(2), event(1), ready()),
  );
  const feed = openFeed(gateway.url, { maxRememberedIds: 1 });
  await feed.isReady(1);
  expect(feed.messages.map(({ id }) => Number(id))).toEqual([1, 2, 1]);
});

test('ids of another installation begin anew, and so do those after a gap: neither is taken for a repeat', async () => {
  const of = (tag: string, ...ids: number[]) =>
    ids.map((id) => event(id, { cursor: `100.${tag}` }));
  const gateway = await ScriptedGateway.start((connection) => {
    connection.send(...of('aaaaaaaa', 1, 2), ready('101.aaaaaaaa'), ...of('aaaaaaaa', 2, 3));
    connection.send(
      ...of('bbbbbbbb', 2),
      ready('101.bbbbbbbb', false),
      ...of('bbbbbbbb', 2, 3),
      ready('9.b', false),
    );
    connection.send(...of('bbbbbbbb', 3));
  });
  const feed = openFeed(gateway.url);
  await feed.isReady(3);
  await expect.poll(() => feed.messages.map(({ id }) => Number(id))).toEqual([1, 2, 3, 2, 2, 3, 3]);
});

test('a fetch of a row ends with its feed, and what it brings is not delivered any more', async () => {
  const gateway = await ScriptedGateway.start((connection) =>
    connection.send(event(1, { truncated: true }), ready()),
  );
  const aborted: boolean[] = [];
  const feed = openFeed(gateway.url, {
    fetchRow: (_, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          aborted.push(signal.aborted);
          resolve({ id: 1 });
        });
        setTimeout(() => feed.close(), 20);
      }),
  });
  await expect.poll(() => aborted).toEqual([true]);
  await settle();
  expect([feed.messages, feed.readies]).toEqual([[], []]);
});

test('the feed is not called live while what was missed is still being fetched, or after it was cut off meanwhile', async () => {
  let bring: () => void = () => undefined;
  const gateway = await ScriptedGateway.start((connection, attempt) => {
    if (attempt === 1) connection.send(event(1, { truncated: true }), ready());
  });
  const feed = openFeed(gateway.url, {
    fetchRow: () =>
      new Promise((resolve) => {
        bring = () => resolve(null);
      }),
  });
  await expect.poll(() => gateway.connections.length).toBe(1);
  await settle();
  expect(feed.status).toBe('replaying');
  gateway.connections[0]?.cut();
  await expect.poll(() => gateway.connections.length).toBe(2);
  bring();
  await feed.isReady(1);
  expect(feed.statuses).not.toContain('live');
  expect(feed.messages).toMatchObject([{ truncated: true, data: { id: 1 } }]);
});

test('a loop that is left stops listening at once, also while it waits; two loops see all', async () => {
  const gateway = await ScriptedGateway.start((connection) => connection.send(ready()));
  const feed = openFeed(gateway.url);
  await feed.reaches('live');
  const [first, second] = [feed[Symbol.asyncIterator](), feed[Symbol.asyncIterator]()];
  const waiting = first.next();
  await first.return?.();
  expect(await waiting).toEqual({ value: undefined, done: true });
  gateway.connections[0]?.send(event(1), event(2));
  expect((await second.next()).value).toMatchObject({ id: '1' });
  expect(await first.next()).toEqual({ value: undefined, done: true });
  const third = (async () => {
    for await (const { id } of feed) return id;
    return undefined;
  })();
  gateway.connections[0]?.send(event(3));
  expect(await third).toBe('3');
});

test('a hundred thousand messages behind one row do not block', async () => {
  const many = Array.from({ length: 100_000 }, (_, i) => event(i + 2));
  const gateway = await ScriptedGateway.start((connection) =>
    connection.send(event(1, { truncated: true }), ...many, ready()),
  );
  const feed = openFeed(gateway.url, { fetchRow: async () => ({ id: 1 }) });
  await feed.isReady(1);
  expect(feed.messages).toHaveLength(100_001);
});
