import { expect, test } from 'vitest';
import type { Feed } from '../../src/client/connect.ts';
import type { AuthSettings } from '../../src/lambdas/settings.ts';
import type { TestClient } from '../support/client/client.ts';
import { openFeed, type RecordedFeed } from '../support/dynamodb/feed.ts';
import { SECRET, sign } from '../support/tokens.ts';
import { World } from '../support/world.ts';

const AUTH: AuthSettings = {
  mode: 'jwt',
  key: { secret: new TextEncoder().encode(SECRET) },
  rolesClaim: 'roles',
  roomsClaim: 'rooms',
  presenceClaim: 'card',
};

async function start(auth: AuthSettings = { mode: 'none' }): Promise<World> {
  const world = await World.start({ auth });
  await world.sql(`select rowcast.watch_presence('room:team-*')`);
  return world;
}

/** A feed of a user whose token allows every room. */
function join(world: World, sub: string, card?: unknown, rooms = ['team-7']): RecordedFeed {
  return openFeed(world.gateway.websocketUrl, {
    rooms,
    getToken: () => sign({ sub, rooms: ['*'], card }),
  });
}

const idsIn = (feed: Feed, room = 'team-7') => [...feed.presence(room).state.users.keys()].sort();
const sees = (feed: Feed, ids: readonly string[], room?: string) =>
  expect.poll(() => idsIn(feed, room), { timeout: 20_000 }).toEqual(ids);
const framesOf = (client: TestClient) =>
  client.messages.filter((message) => message.includes('"PRESENCE"'));
/** `team-7 ann`, as rowcast.presence has them. */
const online = async (world: World) =>
  (
    await world.sql<{ line: string }>(
      `select room || ' ' || user_id as line from rowcast.presence order by 1`,
    )
  ).map(({ line }) => line);
const reported = (world: World, lines: readonly string[]) =>
  expect.poll(() => online(world), { timeout: 20_000 }).toEqual(lines);

test('everybody in a watched room hears who else is, by user, with what each token says', async () => {
  const world = await start(AUTH);
  await world.relay();
  const ann = join(world, 'ann', { name: 'Ann' });
  await sees(ann, ['ann']);
  const bob = join(world, 'bob');
  const second = join(world, 'bob');
  await Promise.all([ann, bob, second].map((feed) => sees(feed, ['ann', 'bob'])));
  const { users, count } = bob.presence<{ name: string }>('team-7').state;
  expect([users.get('ann')?.info?.name, users.get('bob')?.info, count]).toEqual([
    'Ann',
    undefined,
    2,
  ]);
  const changes: number[] = [];
  ann.presence('team-7').subscribe((state) => changes.push(state.count));
  // One of two tabs goes, and comes back: nobody is told.
  second.close();
  await join(world, 'bob').reaches('live');
  const cid = join(world, 'cid', { name: 'x'.repeat(600) });
  await sees(ann, ['ann', 'bob', 'cid']);
  expect(cid.presence('team-7').state.users.get('cid')?.info).toBeUndefined();
  expect(changes).toEqual([3]);
});

test('a user who leaves the room is gone at once, knows nothing of it any more, and hears of the next', async () => {
  const world = await start(AUTH);
  await world.relay();
  const [ann, bob] = [join(world, 'ann'), join(world, 'bob')];
  await Promise.all([ann, bob].map((feed) => sees(feed, ['ann', 'bob'])));
  await bob.setRooms(['team-8', 'lobby']);
  await Promise.all([sees(ann, ['ann']), sees(bob, []), sees(bob, ['bob'], 'team-8')]);
  expect(idsIn(bob, 'lobby')).toEqual([]);
  await bob.join('team-7');
  await Promise.all([ann, bob].map((feed) => sees(feed, ['ann', 'bob'])));
  expect(bob.readies).toHaveLength(1);
});

test('a user whose last connection ends is there for 15 seconds more: one who is back before never left', async () => {
  const world = await start(AUTH);
  await world.relay();
  const [ann, bob, cid] = [join(world, 'ann'), join(world, 'bob'), join(world, 'cid')];
  const all = ['ann', 'bob', 'cid'];
  await Promise.all([ann, bob, cid].map((feed) => sees(feed, all)));
  const heard: string[] = [];
  ann.presence('team-7').subscribe(({ users }) => heard.push([...users.keys()].sort().join()));
  bob.reconnect();
  cid.close();
  const closedAt = Date.now();
  await bob.isReady(2);
  await sees(ann, ['ann', 'bob']);
  expect(Date.now() - closedAt).toBeGreaterThan(14_000);
  expect(heard).toEqual(['ann,bob']);
  await reported(world, ['team-7 ann', 'team-7 bob']);
});

test('members by a table are there without asking, until the row is gone', async () => {
  const world = await start(AUTH);
  await world.relay();
  await world.sql('create table members (user_id text, team int)');
  await world.sql(`select rowcast.rooms_from('members', 'user_id', 'team-<team>')`);
  await world.sql(`insert into members values ('ann', 7)`);
  const [ann, bob] = [join(world, 'ann', undefined, []), join(world, 'bob', undefined, [])];
  await sees(ann, ['ann']);
  await bob.reaches('live');
  await world.sql(`insert into members values ('bob', 7)`);
  await Promise.all([ann, bob].map((feed) => sees(feed, ['ann', 'bob'])));
  await world.sql(`delete from members where user_id = 'ann'`);
  await Promise.all([sees(bob, ['bob']), sees(ann, [])]);
});

test('a trigger decides between the socket and a push notification', async () => {
  const world = await start();
  await world.relay();
  await world.sql(`create table notices (id serial primary key, user_id int, sent text)`);
  await world.sql(`create function choose() returns trigger language plpgsql as $$ begin
    new.sent := case when rowcast.is_online(new.user_id) then 'socket' else 'push' end;
    return new; end $$`);
  await world.sql(
    'create trigger choose before insert on notices for each row execute function choose()',
  );
  const send = async (userId: number) =>
    (await world.sql('insert into notices (user_id) values ($1) returning sent', [userId]))[0];
  expect(await send(1)).toEqual({ sent: 'push' });
  await world.live({ userId: '1' });
  await expect.poll(() => send(1)).toEqual({ sent: 'socket' });
  expect(await send(2)).toEqual({ sent: 'push' });
  await world.live({ userId: '2', rooms: 'team-7,lobby' });
  await expect.poll(() => send(2)).toEqual({ sent: 'socket' });
  expect(await world.sql(`select rowcast.online_in('team-7') as id`)).toEqual([{ id: '2' }]);
  expect(await world.sql(`select rowcast.online_in('lobby') as id`)).toEqual([]);
});

test('nobody is online while no relay leads, and the next one knows who is, and who is not', async () => {
  const world = await start();
  const first = await world.relay();
  const ann = await world.live({ userId: 'ann', rooms: 'team-7' });
  const bob = await world.live({ userId: 'bob', rooms: 'team-7' });
  await reported(world, ['team-7 ann', 'team-7 bob']);
  const before = framesOf(ann).length;
  await first.stop();
  expect(await online(world)).toEqual([]);
  expect(await world.sql(`select rowcast.is_online('ann') as it`)).toEqual([{ it: false }]);
  await bob.close();
  await expect.poll(() => world.table.items()).toHaveLength(1);
  await world.relay();
  await reported(world, ['team-7 ann']);
  await expect.poll(() => framesOf(ann).slice(before)).toHaveLength(1);
  expect(framesOf(ann).at(-1)).toContain('"users":{"ann":{"n":1}}');
});

test('what is watched may change at any time', async () => {
  const world = await World.start({ auth: AUTH });
  await world.relay();
  const ann = join(world, 'ann', undefined, ['team-7', 'lobby']);
  await ann.reaches('live');
  await world.sql(`select rowcast.watch_presence('room:team-*')`);
  await sees(ann, ['ann']);
  await world.sql(`select rowcast.watch_presence('room:lobby')`);
  await sees(ann, ['ann'], 'lobby');
  await world.sql(`select rowcast.unwatch_presence('room:team-*')`);
  await sees(ann, []);
  expect(idsIn(ann, 'lobby')).toEqual(['ann']);
  await reported(world, ['lobby ann']);
  await world.sql(`select rowcast.unwatch_presence('room:lobby')`);
  await sees(ann, [], 'lobby');
  expect(await online(world)).toEqual([]);
  await world.sql(`select rowcast.watch_presence('room:lobby')`);
  await sees(ann, ['ann'], 'lobby');
  await reported(world, ['lobby ann']);
});

test('frames of presence go behind events, and a client that missed some is told all of it', async () => {
  const world = await start();
  await world.relay();
  const ann = await world.live({ userId: 'ann', rooms: 'team-7' });
  await expect.poll(() => framesOf(ann)).toHaveLength(1);
  const held = await world.hold('ann');
  await world.sql(`select rowcast.send_to_user('ann', 'note', '1')`);
  await held.held(1);
  for (const userId of ['bob', 'cid']) {
    const client = await world.live({ userId, rooms: 'team-7' });
    await expect.poll(() => framesOf(client).join()).toContain(userId);
  }
  await world.sql(`select rowcast.send_to_user('ann', 'note', '2')`);
  world.heal();
  await held.passOne();
  await ann.received(2);
  await expect.poll(() => framesOf(ann)).toHaveLength(2);
  expect(framesOf(ann)[1]).toContain('"users":{');
  expect(framesOf(ann)[1]).toMatch(/ann.*bob.*cid/);
});

test('a client that missed a frame asks, and hears all of it', async () => {
  const world = await start(AUTH);
  await world.relay();
  const ann = join(world, 'ann');
  await sees(ann, ['ann']);
  const heard: string[][] = [];
  ann.presence('team-7').subscribe(({ users }) => heard.push([...users.keys()]));
  const [{ socket } = {}] = world.gateway.connections.values();
  const missedOne = { type: 'PRESENCE', room: 'team-7', seq: Number.MAX_SAFE_INTEGER };
  socket?.send(JSON.stringify({ ...missedOne, join: { bob: { n: 1 } }, leave: [] }));
  await expect.poll(() => heard).toEqual([['ann']]);
  expect(ann.readies).toHaveLength(1);
});
