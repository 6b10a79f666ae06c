import { expect, test } from 'vitest';
import { contents, numbers } from '../../support/client/contents.ts';
import { World } from '../../support/world.ts';

test('a client that was away gets what it missed by its cursor, then READY', async () => {
  const world = await World.start();
  await world.relay();
  const client = await world.live({ userId: 'bob' });
  await world.sql(`insert into messages (content) values ('seen')`);
  const { cursor } = await client.frame(({ data }) => data?.content === 'seen');
  await client.close();
  await world.sql(`insert into messages (content) values ('missed')`);
  await world.sql(`select rowcast.send('secret', '1', '{user:eve}')`);
  const back = await world.live({ userId: 'bob', cursor: cursor as string });
  expect(back.frames.map(({ type, data }) => data?.content ?? type)).toEqual([
    'seen',
    'missed',
    'READY',
  ]);
  expect(await back.ready()).toMatchObject({ recovered: true });
});

test.each(['1.00000000', 'nonsense', '9'.repeat(200)])(
  'a cursor of another database (%s) is answered with recovered: false',
  async (cursor) => {
    const world = await World.start();
    await world.relay();
    const client = await world.live({ cursor });
    expect(await client.ready()).toMatchObject({ recovered: false });
  },
);

test('a client that does not wait for READY misses nothing that was committed after it connected', async () => {
  const world = await World.start();
  await world.relay();
  const slow = await world.database.client();
  await slow.query('begin');
  await slow.query(`insert into messages (content) values ('written before, committed after')`);
  await world.sql(`insert into messages (content) values ('long before')`);
  const client = await world.connect();
  await slow.query('commit');
  slow.release();
  await world.sql(`insert into messages (content) values ('after')`);
  await Promise.all(
    ['written before, committed after', 'after'].map((content) =>
      client.frame(({ data }) => data?.content === content),
    ),
  );
});

test('a transaction that stays open for long does not make clients that come back hear everything again', async () => {
  const world = await World.start();
  await world.relay();
  const slow = await world.database.client();
  await slow.query('begin');
  await slow.query(`insert into messages (content) values ('slow')`);
  const client = await world.live();
  let cursor: string | undefined;
  for (const n of numbers(20)) {
    await world.sql('insert into messages (content) values ($1)', [n]);
    cursor = (await client.frame(({ data }) => data?.content === n)).cursor;
  }
  await client.close();
  await world.sql(`insert into messages (content) values ('missed')`);
  const back = await world.live({ cursor: cursor as string });
  expect(contents(back.events)).not.toContain('10');
  expect(contents(back.events)).toContain('missed');
  await slow.query('commit');
  slow.release();
  await back.frame(({ data }) => data?.content === 'slow');
});

test.each(['0', '00', '5-3-9', '1-999999999999999999', '999999999999999999'])(
  "a cursor of somebody's own making (%s) troubles nobody else",
  async (made) => {
    const world = await World.start();
    const relay = await world.relay();
    const victim = await world.live();
    const tag = String((await victim.ready()).cursor).split('.')[1];
    const roles: string[] = [];
    relay.on('role', (role) => roles.push(role));
    const forger = await world.live({ cursor: `${made}.${tag}` });
    await world.sql(`insert into messages (content) values ('x')`);
    await Promise.all([victim, forger].map((client) => client.received(1)));
    expect(roles).toEqual([]);
  },
);
