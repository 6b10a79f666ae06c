import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { type ConnectOptions, connect } from '../../src/client/connect.ts';
import type { AuthSettings } from '../../src/lambdas/settings.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { SECRET, sign } from '../support/tokens.ts';
import { World } from '../support/world.ts';

const JWT: AuthSettings = {
  mode: 'jwt',
  key: { secret: new TextEncoder().encode(SECRET) },
  rolesClaim: 'roles',
  roomsClaim: 'rooms',
};

async function start(auth: AuthSettings = { mode: 'none' }) {
  const world = await World.start({ auth });
  await world.relay();
  await world.sql('create table post (id int primary key, room text not null)');
  await world.sql(`select rowcast.watch('post', audience => '{room:<room>}')`);
  let posts = 0;
  const post = async (...rooms: string[]) => {
    for (const room of rooms) await world.sql('insert into post values ($1, $2)', [++posts, room]);
  };
  const open = (options: Partial<ConnectOptions> = {}) => {
    const feed = connect({
      url: `${world.gateway.websocketUrl}?userId=ann`,
      WebSocket: WebSocket as never,
      reconnectDelayMs: 20,
      ...options,
    });
    onTestFinished(() => feed.close());
    const heard: string[] = [];
    feed.onMessage(({ data }) => heard.push((data as { room: string }).room));
    const readies: boolean[] = [];
    feed.onReady(({ recovered }) => readies.push(recovered));
    return { feed, heard, readies };
  };
  return { world, post, open };
}

test('a feed joins and leaves rooms on its open socket: their frames from then on, no other READY, nothing of the others again', async () => {
  const { world, post, open } = await start();
  const { feed, heard, readies } = open({ rooms: ['lobby'] });
  await expect.poll(() => feed.status).toBe('live');
  await post('lobby', 'team');
  await expect.poll(() => heard).toEqual(['lobby']);
  const joining = feed.join('team');
  expect(await joining).toEqual({ rooms: ['lobby', 'team'], refused: [] });
  await post('team', 'lobby');
  await expect.poll(() => heard.slice(-2).sort()).toEqual(['lobby', 'team']);
  expect(await feed.leave('lobby')).toEqual({ rooms: ['team'], refused: [] });
  await post('lobby', 'team');
  await expect.poll(() => heard.at(-1)).toBe('team');
  expect(heard.filter((room) => room === 'lobby')).toHaveLength(2);
  expect(await feed.setRooms([])).toEqual({ rooms: [], refused: [] });
  await post('team');
  expect(await feed.join('other')).toEqual({ rooms: ['other'], refused: [] });
  await post('other');
  await expect.poll(() => heard.at(-1)).toBe('other');
  expect(readies).toEqual([true]);
  expect(world.gateway.connections.size).toBe(1);
});

test('what is committed for a room after it was asked for arrives before the answer or after it', async () => {
  const { world, post, open } = await start();
  const { feed, heard } = open();
  await expect.poll(() => feed.status).toBe('live');
  // Before the relay has seen the wish in the table.
  const joining = feed.join('team');
  await expect.poll(async () => (await world.table.items())[0]?.wanted).toBe('team');
  await post('team', 'team');
  await joining;
  await post('team');
  await expect.poll(() => heard).toEqual(['team', 'team', 'team']);
});

test('a room that the token does not allow is refused by name and costs nothing else, at $connect and on the socket', async () => {
  const { post, open } = await start(JWT);
  const token = await sign({ sub: 'ann', rooms: ['lobby', 'team-*'] });
  const { feed, heard } = open({ rooms: ['lobby', 'secret'], getToken: () => token });
  await expect.poll(() => feed.status).toBe('live');
  expect(await feed.setRooms(['lobby', 'secret'])).toEqual({
    rooms: ['lobby'],
    refused: ['secret'],
  });
  expect(await feed.join('team-7')).toEqual({ rooms: ['lobby', 'team-7'], refused: ['secret'] });
  await post('secret', 'team-7', 'lobby');
  await expect.poll(() => heard).toEqual(['team-7', 'lobby']);
});

test('rooms that were joined stay joined over a cut', async () => {
  const { world, post, open } = await start();
  const { feed, heard } = open({ rooms: ['lobby'] });
  await expect.poll(() => feed.status).toBe('live');
  await feed.join('team');
  world.cut();
  await post('team', 'lobby');
  await expect.poll(() => heard.toSorted()).toEqual(['lobby', 'team']);
});

test('a room that was asked for while the leader could not see it misses nothing once another leads', async () => {
  const world = await World.start();
  const client = await world.connect({ userId: 'ann' });
  const { hostname, port } = new URL(world.table.endpoint);
  const toTable = await TcpProxy.start({ host: hostname, port: Number(port) });
  onTestFinished(() => toTable.stop());
  const blind = world.daemon({
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${toTable.port}`,
  });
  await client.ready();
  await world.sql(`select rowcast.broadcast('first', '{}')`);
  await expect.poll(() => world.passed()).toBe(1);
  await toTable.stop();
  client.socket.send(JSON.stringify({ action: 'rooms', rooms: 'red' }));
  await expect.poll(async () => (await world.table.items())[0]?.wanted).toBe('red');
  await world.sql(`select rowcast.send_to_room('red', 'note', '{}')`);
  await expect.poll(() => world.passed()).toBe(2);
  await blind.kill();
  await world.relay();
  await client.received(2);
  expect(await client.frame(({ type }) => type === 'ROOMS')).toMatchObject({ wanted: 'red' });
  expect(client.frames.map(({ type }) => type)).toEqual(['READY', 'first', 'note', 'ROOMS']);
});
