import { expect, onTestFinished, test } from 'vitest';
import type { AuthSettings } from '../../src/lambdas/settings.ts';
import type { TestClient } from '../support/client/client.ts';
import { SECRET, sign } from '../support/tokens.ts';
import { World } from '../support/world.ts';

async function start(auth: AuthSettings = { mode: 'none' }): Promise<World> {
  const world = await World.start({ auth });
  await world.sql(
    'create table members (user_id text, team_id int, primary key (user_id, team_id))',
  );
  await world.sql(`select rowcast.rooms_from('members', 'user_id', 'team-<team_id>')`);
  await world.sql('create table posts (id serial primary key, team_id int, text text)');
  await world.sql(`select rowcast.watch('posts', 'post', '{room:team-<team_id>}')`);
  return world;
}
const join = (world: World, userId: string, team = 7) =>
  world.sql('insert into members values ($1, $2)', [userId, team]);
const leave = (world: World, userId: string, team = 7) =>
  world.sql('delete from members where user_id = $1 and team_id = $2', [userId, team]);
const post = (world: World, text: string, team = 7) =>
  world.sql('insert into posts (team_id, text) values ($1, $2)', [team, text]);
/** The posts that the clients have, once everything that was committed has come. */
async function posts(world: World, ...clients: TestClient[]): Promise<unknown[][]> {
  const [fence] = await world.sql<{ id: string }>(`select rowcast.broadcast('fence', null) as id`);
  await Promise.all(clients.map((client) => client.frame(({ id }) => id === fence?.id)));
  return clients.map(({ events }) =>
    events.filter(({ type }) => type === 'NEW_POST').map(({ data }) => data?.text),
  );
}
async function transaction(world: World) {
  const session = await world.database.client();
  onTestFinished(() => session.release());
  await session.query('begin');
  return session;
}

test('a member is in the room without asking, from the row that says so until it is gone', async () => {
  const world = await start();
  await world.relay();
  await join(world, 'ann');
  const [ann, bob] = [await world.live({ userId: 'ann' }), await world.live({ userId: 'bob' })];
  await post(world, 'one');
  await join(world, 'bob');
  await post(world, 'two');
  await leave(world, 'ann');
  await post(world, 'three');
  expect(await posts(world, ann, bob)).toEqual([
    ['one', 'two'],
    ['two', 'three'],
  ]);
  // The feed goes on as it was: one READY each, and no ROOMS.
  for (const { frames } of [ann, bob])
    expect(frames.filter(({ id }) => id === undefined).map(({ type }) => type)).toEqual(['READY']);
});

test('both tabs of a user are in the room, and an audience that leaves the room out leaves them out', async () => {
  const world = await start();
  await world.relay();
  await join(world, 'ann');
  const tabs = [await world.live({ userId: 'ann' }), await world.live({ userId: 'ann' })];
  const bob = await world.live({ userId: 'bob' });
  await post(world, 'for both');
  await world.sql(`select rowcast.send('NEW_POST', '{"text":"others"}', '{all,!room:team-7}')`);
  expect(await posts(world, ...tabs, bob)).toEqual([['for both'], ['for both'], ['others']]);
});

test('a row that was written before a removal and committed after it does not reach the member', async () => {
  const world = await start();
  const first = await world.relay();
  await join(world, 'ann');
  const ann = await world.live({ userId: 'ann' });
  // All of it in one window, which no order of ids tells apart.
  await first.stop();
  const [late, early, removal] = [
    await transaction(world),
    await transaction(world),
    await transaction(world),
  ];
  await late.query(`insert into posts (team_id, text) values (7, 'late')`);
  await removal.query(`delete from members where user_id = 'ann'`);
  await early.query(`insert into posts (team_id, text) values (7, 'early')`);
  await early.query('commit');
  await removal.query('commit');
  await late.query('commit');
  await world.relay();
  expect(await posts(world, ann)).toEqual([['early']]);
});

test('a row that was written before somebody joined and committed after that reaches the member', async () => {
  const world = await start();
  const first = await world.relay();
  const ann = await world.live({ userId: 'ann' });
  await first.stop();
  const [late, early, joining] = [
    await transaction(world),
    await transaction(world),
    await transaction(world),
  ];
  await late.query(`insert into posts (team_id, text) values (7, 'late')`);
  await joining.query(`insert into members values ('ann', 7)`);
  await early.query(`insert into posts (team_id, text) values (7, 'early')`);
  await early.query('commit');
  await joining.query('commit');
  await late.query('commit');
  await world.relay();
  expect(await posts(world, ann)).toEqual([['late']]);
});

test('within a transaction the order is that of its statements', async () => {
  const world = await start();
  await world.relay();
  await join(world, 'ann');
  const [ann, bob] = [await world.live({ userId: 'ann' }), await world.live({ userId: 'bob' })];
  await world.sql(`do $$ begin
    insert into posts (team_id, text) values (7, 'before');
    delete from members where user_id = 'ann';
    insert into members values ('bob', 7);
    insert into posts (team_id, text) values (7, 'after');
  end $$`);
  expect(await posts(world, ann, bob)).toEqual([['before'], ['after']]);
});

test('the row that makes a member reaches the member, and so does the one that ends it', async () => {
  const world = await start();
  await world.sql(`select rowcast.watch('members', 'member', '{room:team-<team_id>}')`);
  await world.relay();
  const ann = await world.live({ userId: 'ann' });
  await join(world, 'ann');
  await leave(world, 'ann');
  await posts(world, ann);
  expect(ann.events.map(({ type }) => type)).toEqual(['NEW_MEMBER', 'DELETE_MEMBER', 'fence']);
});

test('a client that comes back gets of a room what was committed while it was a member, if it is one now', async () => {
  const world = await start();
  await world.relay();
  for (const userId of ['ann', 'bob']) await join(world, userId);
  const before = [await world.live({ userId: 'ann' }), await world.live({ userId: 'bob' })];
  const cursors = await Promise.all(before.map(async (client) => (await client.ready()).cursor));
  await Promise.all(before.map((client) => client.close()));
  await post(world, 'one');
  for (const userId of ['ann', 'bob']) await leave(world, userId);
  await post(world, 'two');
  await join(world, 'ann');
  await post(world, 'three');
  const [ann, bob] = [
    await world.live({ userId: 'ann', cursor: cursors[0] as string }),
    await world.live({ userId: 'bob', cursor: cursors[1] as string }),
  ];
  expect(await ann.ready()).toMatchObject({ recovered: true });
  expect(await posts(world, ann, bob)).toEqual([['one', 'three'], []]);
});

test('what was committed before a removal still reaches a connection that had it coming when the relay died', async () => {
  const world = await start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  await join(world, 'ann');
  const ann = await world.live({ userId: 'ann' });
  const held = await world.hold('ann');
  await post(world, 'one');
  await held.held(1);
  await daemon.kill();
  await post(world, 'two');
  await leave(world, 'ann');
  await post(world, 'three');
  world.heal();
  await world.relay();
  expect([...new Set((await posts(world, ann))[0])]).toEqual(['one', 'two']);
});

test('the next relay knows who is in which room, and those who are live go on', async () => {
  const world = await start();
  const first = await world.relay();
  for (const userId of ['ann', 'bob']) await join(world, userId);
  const [ann, bob] = [await world.live({ userId: 'ann' }), await world.live({ userId: 'bob' })];
  await first.stop();
  await leave(world, 'bob');
  await post(world, 'one');
  await world.relay();
  await post(world, 'two');
  expect(await posts(world, ann, bob)).toEqual([['one', 'two'], []]);
});

test('rowcast.disconnect() of a room closes who is in it by a table, and nobody who came later', async () => {
  const world = await start();
  await world.relay();
  await join(world, 'ann');
  const [ann, bob] = [await world.live({ userId: 'ann' }), await world.live({ userId: 'bob' })];
  await world.sql(`select rowcast.disconnect('room:team-7')`);
  await ann.frame(({ type }) => type === 'DISCONNECT');
  await join(world, 'bob');
  await post(world, 'one');
  expect(await posts(world, bob)).toEqual([['one']]);
});

test('a client that asks for a room that it is in by a table is told that it is', async () => {
  const key = { secret: new TextEncoder().encode(SECRET) };
  const world = await start({ mode: 'jwt', key, rolesClaim: 'roles', roomsClaim: 'rooms' });
  await world.relay();
  await join(world, 'ann');
  const token = await sign({ sub: 'ann' });
  const ann = await world.live({ token, rooms: 'team-7' });
  expect(await ann.frame(({ type }) => type === 'ROOMS')).toMatchObject({ rooms: ['team-7'] });
  ann.frames.length = 0;
  ann.socket.send('{"action":"rooms","rooms":"team-7,team-8"}');
  expect(await ann.frame(({ type }) => type === 'ROOMS')).toMatchObject({
    rooms: ['team-7'],
    refused: ['team-8'],
  });
});

test('one statement that moves thousands of members is one change', async () => {
  const world = await start();
  await world.relay();
  await world.sql(`insert into members select 'user' || n, 7 from generate_series(1, 12000) n`);
  const [first, last] = [
    await world.live({ userId: 'user1' }),
    await world.live({ userId: 'user12000' }),
  ];
  await post(world, 'to seven');
  await world.sql('update members set team_id = 8');
  await post(world, 'to nobody');
  await post(world, 'to eight', 8);
  await world.sql('truncate members');
  await post(world, 'to nobody', 8);
  expect(await posts(world, first, last)).toEqual([
    ['to seven', 'to eight'],
    ['to seven', 'to eight'],
  ]);
});

test('rooms beyond the limit of one user are left out, and the first ones stay', async () => {
  const world = await start();
  // Rooms that she was in before do not count.
  await world.sql(`insert into members select 'ann', n from generate_series(10001, 15000) n`);
  await world.sql('delete from members');
  await world.sql(`insert into members select 'ann', n from generate_series(1, 5001) n`);
  await world.relay();
  const ann = await world.live({ userId: 'ann' });
  await post(world, 'the first', 1);
  await post(world, 'one too many', 5001);
  await post(world, 'the last', 5000);
  expect(await posts(world, ann)).toEqual([['the first', 'the last']]);
});

test('a table that is taken while a relay runs puts its users in rooms at once, and out again', async () => {
  const world = await start();
  await world.relay();
  const ann = await world.live({ userId: 'ann' });
  await world.sql(`create table guests as select 'ann' as guest`);
  await post(world, 'before');
  await world.sql(`select rowcast.rooms_from('guests', 'guest', 'team-7')`);
  await post(world, 'as a guest');
  await world.sql(`select rowcast.no_rooms_from('guests')`);
  await post(world, 'after');
  expect(await posts(world, ann)).toEqual([['as a guest']]);
});
