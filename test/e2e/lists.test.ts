import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type Feed } from '../../src/client/connect.ts';
import { type ListOptions, type LiveList, liveList } from '../../src/list/live-list.ts';
import { seeded } from '../support/random.ts';
import { World } from '../support/world.ts';

interface Item {
  id: number;
  version: number;
}

const LIST = `select coalesce(json_agg(i), '[]') as rows, rowcast.snapshot() as cursor from item i`;

async function start() {
  const world = await World.start();
  await world.relay();
  await world.sql('create table item (id bigint primary key, version int not null)');
  await world.sql(`select rowcast.watch('item')`);
  const feed = (cursor?: string): Feed => {
    const made = connect({
      url: `${world.gateway.websocketUrl}?userId=someone`,
      WebSocket: WebSocket as never,
      reconnectDelayMs: 20,
      cursor,
    });
    onTestFinished(() => made.close());
    return made;
  };
  const fetched = async () =>
    (await world.sql<{ rows: Item[]; cursor: string }>(LIST))[0] as {
      rows: Item[];
      cursor: string;
    };
  return { world, feed, fetched };
}

function listOf(feed: Feed, options: Omit<ListOptions<Item>, 'entity'>): LiveList<Item> {
  const list = liveList<Item>(feed, { entity: 'ITEM', ...options });
  onTestFinished(() => list.close());
  return list;
}

/**
 * Inserts, updates, deletes and changes of keys, one to three a transaction; some stay open, some
 * are given up.
 */
async function write(client: pg.PoolClient, random: () => number, writer: number): Promise<void> {
  const below = (most: number) => Math.floor(random() * most);
  for (let n = 0; n < 200; n++) {
    await client.query(`begin isolation level ${below(2) ? 'read committed' : 'repeatable read'}`);
    try {
      for (let change = below(3); change >= 0; change--) {
        const id = 1 + below(12) * 6 + writer;
        const kind = below(5);
        if (kind === 0) await client.query('delete from item where id = $1', [id]);
        else if (kind === 1)
          await client.query('update item set id = $2, version = version + 1 where id = $1', [
            id,
            1000 * (writer + 1) + n,
          ]);
        else
          await client.query(
            `insert into item values ($1, 1 + (extract(epoch from clock_timestamp()) * 1e3)::bigint % 1e9)
             on conflict (id) do update set version = item.version + 1`,
            [id],
          );
        if (below(8) === 0) await setTimeout(below(30));
      }
      await client.query(below(10) ? 'commit' : 'rollback');
    } catch {
      await client.query('rollback');
    }
  }
}

test('under writers, cuts and fetches from lagging snapshots no row of a list goes back, and at last the list is the table', async () => {
  const { world, feed, fetched } = await start();
  const random = seeded(Number(process.env.SEED ?? 17));
  /** Snapshots that were taken a while ago: a replica that lags. */
  const lagging = async () => {
    const client = await world.database.client();
    await client.query('begin isolation level repeatable read; select 1 from item');
    await setTimeout(random() * 60);
    const { rows } = await client.query<{ rows: Item[]; cursor: string }>(LIST);
    await client.query('commit');
    client.release();
    return rows[0] as { rows: Item[]; cursor: string };
  };
  const newest = (one: Item, other: Item) => other.version - one.version || other.id - one.id;
  const shared = feed();
  const lists = [
    listOf(shared, { fetch: fetched }),
    listOf(shared, { fetch: lagging }),
    listOf(feed(), { fetch: lagging, compare: newest, limit: 8 }),
  ];
  const wentBack: string[] = [];
  let steps = 0;
  for (const [n, list] of lists.entries()) {
    const versions = new Map<number, number>();
    list.subscribe(() => {
      steps++;
      for (const { id, version } of list.rows) {
        const before = versions.get(id);
        if (before !== undefined && version < before)
          wentBack.push(`list ${n}: row ${id} from ${before} to ${version}`);
        versions.set(id, version);
      }
    });
  }
  await expect.poll(() => shared.status).toBe('live');
  const writing = Promise.all(
    [0, 1, 2, 3, 4, 5].map(async (writer) => {
      const client = await world.database.client();
      await write(client, random, writer);
      client.release();
    }),
  );
  let isOver = false;
  void writing.then(() => {
    isOver = true;
  });
  while (!isOver) {
    await setTimeout(random() * 120);
    if (random() < 0.3 && shared.status === 'live') world.cut();
    else void lists[Math.floor(random() * lists.length)]?.refresh();
  }
  await writing;
  for (const list of lists) await expect.poll(() => list.status).toBe('live');
  const table = (await fetched()).rows.sort(newest);
  await expect.poll(() => lists[0]?.rows.toSorted(newest)).toEqual(table);
  await expect.poll(() => lists[1]?.rows.toSorted(newest)).toEqual(table);
  await expect.poll(() => lists[2]?.rows).toEqual(table.slice(0, 8));
  expect(wentBack).toEqual([]);
  expect(lists.map(({ exact }) => exact)).toEqual([true, true, true]);
  expect(steps).toBeGreaterThan(20);
});

test('rows whose keys are shifted or swapped in one statement are each there once, with and without include_old', async () => {
  const { world, feed, fetched } = await start();
  await world.sql('create table deferred (id int primary key deferrable, name text)');
  const list = liveList<{ id: number; name: string }>(feed(), {
    entity: 'DEFERRED',
    fetch: async () =>
      (
        await world.sql<{ rows: { id: number; name: string }[]; cursor: string }>(
          `select coalesce(json_agg(d), '[]') as rows, rowcast.snapshot() as cursor from deferred d`,
        )
      )[0] ?? [],
  });
  onTestFinished(() => list.close());
  const names = () => list.rows.map(({ id, name }) => `${id} ${name}`).sort();
  for (const includeOld of [false, true]) {
    await world.sql(`select rowcast.watch('deferred', include_old => ${includeOld})`);
    await world.sql(`truncate deferred; insert into deferred values (1, 'a'), (2, 'b'), (3, 'c')`);
    await expect.poll(names).toEqual(['1 a', '2 b', '3 c']);
    await world.sql('update deferred set id = id + 1');
    await expect.poll(names).toEqual(['2 a', '3 b', '4 c']);
    await world.sql('update deferred set id = 6 - id');
    await expect.poll(names).toEqual(['2 c', '3 b', '4 a']);
    await world.sql('update deferred set id = 5 where id = 3');
    await expect.poll(names).toEqual(['2 c', '4 a', '5 b']);
  }
  expect((await fetched()).rows).toEqual([]);
});

test('what a transaction writes after its own fetch is not taken for seen', async () => {
  const { world, feed } = await start();
  // The page is fetched once: it must not be older than where the feed begins.
  const live = feed();
  await expect.poll(() => live.status).toBe('live');
  const client = await world.database.client();
  await client.query('begin; insert into item values (1, 1)');
  const { rows } = await client.query<{ rows: Item[]; cursor: string }>(LIST);
  const page = rows[0] as { rows: Item[]; cursor: string };
  await client.query('update item set version = 2');
  let fetches = 0;
  const list = listOf(live, {
    fetch: async () => {
      fetches++;
      return page;
    },
  });
  await expect.poll(() => [list.status, list.rows]).toEqual(['live', [{ id: 1, version: 1 }]]);
  await client.query('commit');
  client.release();
  await expect.poll(() => list.rows).toEqual([{ id: 1, version: 2 }]);
  expect([fetches, list.exact]).toEqual([1, true]);
});

test('a page that a server rendered connects with its snapshot, and misses and repeats nothing', async () => {
  const { world, feed, fetched } = await start();
  const open = await world.database.client();
  await open.query('begin; insert into item values (1, 1)');
  await world.sql('insert into item values (2, 1)');
  const initial = await fetched();
  await world.sql('insert into item values (3, 1)');
  await open.query('commit');
  open.release();
  const client = feed(initial.cursor);
  const heard: unknown[] = [];
  client.onMessage(({ data }) => heard.push((data as Item).id));
  const list = listOf(client, { initial, fetch: () => Promise.reject(new Error('no need')) });
  await expect.poll(() => list.status).toBe('live');
  expect(heard.toSorted()).toEqual([1, 3]);
  expect(list.rows.map(({ id }) => id).toSorted()).toEqual([1, 2, 3]);
  expect(list.exact).toBe(true);
});

test('an application waits for its own transaction', async () => {
  const { world, feed } = await start();
  const client = feed();
  await new Promise((live) => client.onReady(live));
  const writer = await world.database.client();
  const { rows } = await writer.query<{ tx: string }>(
    'insert into item values (1, 1) returning pg_current_xact_id()::text as tx',
  );
  writer.release();
  const { tx } = rows[0] as { tx: string };
  await client.waitFor(tx);
  expect([...client.delivered]).toEqual([tx]);
  await client.waitFor(tx);
  await expect(client.waitFor('1', 10)).rejects.toThrow('nothing of transaction 1 came');
});
