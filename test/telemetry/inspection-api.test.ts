import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { leaderOf } from '../support/process/command.ts';
import { World } from '../support/world.ts';

async function get(
  port: string,
  path: string,
  host = `127.0.0.1:${port}`,
): Promise<{ status: number; body: string }> {
  const asking = request({ host: '127.0.0.1', port, path, headers: { host } }).end();
  const [response] = (await once(asking, 'response')) as [import('node:http').IncomingMessage];
  return {
    status: response.statusCode as number,
    body: (await response.setEncoding('utf8').toArray()).join(''),
  };
}

test('the knowledge of a relay is served to programs on its machine, and to nobody else', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  await world.live({ userId: 'ada' });
  const port = env.ROWCAST_INSPECT_PORT as string;
  expect(JSON.parse((await get(port, '/status')).body)).toMatchObject({
    role: 'leader',
    connections: { known: 1 },
  });
  expect((await get(port, '/status', 'localhost')).status).toBe(200);
  // A name that a web page made resolve to this machine.
  expect(await get(port, '/status', 'rebound.example')).toMatchObject({
    status: 403,
    body: expect.not.stringMatching(/ada|leader/),
  });
  for (const path of [
    '/',
    '/metrics',
    '/trace/',
    '/trace/x',
    '/trace/1%27',
    '/trace/99999999999999999999',
  ])
    expect((await get(port, path)).status, path).toBe(404);
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  for (const { address, family } of addresses.filter(({ internal }) => !internal)) {
    if (family !== 'IPv4') continue;
    const socket = connect(Number(port), address);
    const reached = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    expect(reached, address).toBe(false);
  }
});

test('a port that is taken costs the inspection and nothing else', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const second = world.daemon({ ROWCAST_INSPECT_PORT: env.ROWCAST_INSPECT_PORT as string });
  expect(await second.logged('inspection_unavailable')).toMatchObject({
    error: expect.stringMatching(/EADDRINUSE/),
    msg: expect.stringMatching(/ROWCAST_INSPECT_PORT/),
  });
  await second.logged('standby');
});
