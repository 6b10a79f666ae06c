import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import pg from 'pg';
import { pino } from 'pino';
import { expect, inject, test } from 'vitest';
import { fromItem } from '../../../src/connections/connection.ts';
import { migrate } from '../../../src/postgres/migrations.ts';
import type { Relay } from '../../../src/relay/relay.ts';
import { TestClient } from '../../support/client/client.ts';
import { command } from '../../support/process/command.ts';
import { World } from '../../support/world.ts';

/** A database of that encoding, with all migrations applied. */
async function databaseIn(encoding: string): Promise<string> {
  const admin = new pg.Client(inject('adminUrl'));
  await admin.connect();
  const name = `${inject('template')}_${randomBytes(6).toString('hex')}`;
  await admin.query(
    `create database ${name} encoding '${encoding}' lc_collate 'C' lc_ctype 'C' template template0`,
  );
  await admin.end();
  const url = Object.assign(new URL(inject('adminUrl')), { pathname: `/${name}` }).href;
  await migrate(
    {
      database: { connectionString: url },
      log: pino({ level: 'silent' }),
      signal: new AbortController().signal,
    },
    { direction: 'up' },
  );
  return url;
}

/** Fails when the relay stops leading. */
function staysLeader(relay: Relay): { lost: number } {
  const seen = { lost: 0 };
  relay.on('reconnect', () => seen.lost++);
  return seen;
}

test.each([
  ['SQL_ASCII', `E'caf\\xe9'`, 'caf\ufffd'],
  ['WIN1252', `E'x\\x81y\\xe9'`, 'x\u0081y\u00e9'],
])(
  'a row in %s whose bytes are no text arrives repaired, is counted, and stops nobody else',
  async (encoding, sql, mended) => {
    const url = await databaseIn(encoding);
    const world = await World.start();
    const relay = await world.relay({}, url);
    const seen = staysLeader(relay);
    const client = await world.live();
    const writer = new pg.Client(url);
    await writer.connect();
    const insert = (content: string) =>
      writer.query(`insert into messages (content) values (${content})`);
    const impaired = once(relay, 'impaired');
    await insert(`'before'`);
    await writer.query(`set client_encoding = '${encoding}'`);
    await insert(sql);
    await writer.query(`set client_encoding = 'UTF8'`);
    await insert(`'after'`);
    await client.received(3);
    expect(client.events.map(({ data }) => data?.content)).toEqual(['before', mended, 'after']);
    const [eventId, problem] = (await impaired) as [string, string];
    expect([eventId, problem]).toEqual([client.ids[1], expect.stringContaining(encoding)]);
    // A client that joins reads the same row.
    const back = await world.live({ cursor: (await client.ready()).cursor as string });
    expect(back.events.map(({ data }) => data?.content)).toEqual(['before', mended, 'after']);
    expect(seen.lost).toBe(0);
    const traced = await command(['trace', eventId], { DATABASE_URL: url });
    expect(traced.output).toContain(encoding);
    await writer.end();
  },
);

test('names that the database has no text for stop nobody, and no row counts as impaired', async () => {
  const url = await databaseIn('LATIN1');
  const world = await World.start();
  const relay = await world.relay({}, url);
  const seen = staysLeader(relay);
  let impaired = 0;
  relay.on('impaired', () => impaired++);
  const writer = new pg.Client(url);
  await writer.connect();
  const { cursor } = (await (await world.live()).ready()) as { cursor: string };
  await writer.query(`insert into messages (content) values ('between')`);
  await writer.query('create table members (user_id text, team text)');
  await writer.query(`select rowcast.rooms_from('members', 'user_id', 'team-<team>')`);
  const foreign = await Promise.all([
    world.live({ userId: '花子', cursor }),
    world.live({ rooms: '茶室', cursor }),
    world.live({ userId: 'ann', cursor, info: '安' }),
  ]);
  await writer.query(`insert into members values ('ann', 'x')`);
  await writer.query(`select rowcast.watch_presence('room:team-*')`);
  await writer.query(`select rowcast.send_to_room('team-x', 'note', '1')`);
  await writer.query(`insert into messages (content) values ('after')`);
  for (const [n, client] of foreign.entries()) await client.received(n === 2 ? 3 : 2);
  expect([seen.lost, impaired]).toEqual([0, 0]);
  const online = async () => {
    const { rows } = await writer.query('select user_id, info from rowcast.presence');
    return rows;
  };
  await expect.poll(online).toEqual([{ user_id: 'ann', info: null }]);
  await writer.end();
});

test('a name with a NUL, which no text of Postgres holds, is refused, and in the table is no connection', async () => {
  const world = await World.start();
  const seen = staysLeader(await world.relay());
  for (const name of ['userId', 'rooms', 'roles']) {
    const refused = new TestClient(`${world.gateway.websocketUrl}?${name}=a%00`);
    expect(await refused.opened).toBe(403);
  }
  const client = await world.live();
  client.socket.send(JSON.stringify({ action: 'rooms', rooms: 'a\0,lobby' }));
  expect(await client.frame(({ type }) => type === 'ROOMS')).toMatchObject({
    rooms: ['lobby'],
    refused: ['a\0'],
  });
  const item = { connectionId: 'c', userId: 'a\0', connectedAt: 1, ttl: 1 };
  expect(fromItem(item)).toBeNull();
  expect(seen.lost).toBe(0);
});

test('a type or an audience of a size that nobody means is set aside with a reason, and the rest goes on', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const seen = staysLeader(relay);
  const told: string[][] = [];
  relay.on('impaired', (...event) => told.push(event));
  const client = await world.live();
  await world.sql(
    `insert into rowcast.event (type, audience) values (repeat('x', 60000000), '{all}')`,
  );
  await world.sql(
    `insert into rowcast.event (type, audience) select 'T', array_agg('user:' || repeat('x', 200) || n) || '{all}' from generate_series(1, 100000) n`,
  );
  await world.sql(`select rowcast.broadcast('fine', '1')`);
  await client.frame(({ type }) => type === 'fine');
  expect(client.ids).toHaveLength(1);
  expect(told.map(([, problem, sentAs]) => [problem, sentAs])).toEqual([
    ['its type or audience is too large', 'nobody'],
    ['its type or audience is too large', 'nobody'],
  ]);
  expect(seen.lost).toBe(0);
});

test('the relay reports what failed while a row was captured, with the id of the event', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const impaired = once(relay, 'impaired');
  await world.sql('create table ticket (id int primary key, owner text)');
  await world.sql(`select rowcast.watch('ticket', audience => '{user:<owner>}')`);
  await world.sql('alter table ticket rename owner to holder');
  await world.sql(`insert into ticket values (1, 'ann')`);
  expect(await impaired).toEqual([expect.any(String), expect.stringMatching(/^42703: /), 'nobody']);
});

test('an item with an id that no URL can hold is no connection, and stops no other', async () => {
  const ttl = Math.floor(Date.now() / 1000) + 3600;
  const item = { userId: 'u', connectedAt: Date.now() - 60_000, ttl };
  expect(fromItem({ ...item, connectionId: 'x\ud800' })).toBeNull();
  expect(fromItem({ ...item, connectionId: '' })).toBeNull();
  const world = await World.start();
  for (const connectionId of ['x\ud800', 'a\r\nX-Evil: 1', '../../@connections/x?y#z'])
    await world.table.store.put({ ...item, connectionId }).catch(() => undefined);
  const relay = await world.relay();
  const seen = staysLeader(relay);
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('hello')`);
  await client.received(1);
  expect(seen.lost).toBe(0);
});
