import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ProbeClient } from '../../src/doctor/probe-client.ts';
import { leaderOf } from '../support/process/command.ts';
import { doctor } from '../support/process/doctor.ts';
import { World } from '../support/world.ts';

test('a probe to something else than Rowcast ends, and says so', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const chatty = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  chatty.on('connection', (socket) => socket.send('hello'));
  const plain = createServer((_, response) => response.end('a web page')).listen(0, '127.0.0.1');
  onTestFinished(() => {
    chatty.close();
    for (const client of chatty.clients) client.terminate();
    plain.close();
  });
  const port = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
  await once(plain, 'listening');
  const [web, url, token] = await Promise.all([
    doctor(env, '--url', `ws://127.0.0.1:${port(plain)}/`),
    doctor(env, '--url', 'nonsense'),
    doctor(
      env,
      '--url',
      `${world.gateway.websocketUrl}?token=hunter2`,
      '--token',
      'no token at all',
    ),
  ]);
  expect(web.problems['probe: connect']).toMatch(
    /refused with 200: a web page DO this is no WebSocket API/,
  );
  expect(url.problems['probe: connect']).toMatch(/Invalid URL DO --url is written wss:/);
  expect(token.problems['probe: connect']).toMatch(/DO --url is written wss:.*--token is a JWT/);
  expect(JSON.stringify(token)).not.toContain('hunter2');
  const foreign = new ProbeClient({ url: `ws://127.0.0.1:${port(chatty)}/`, token: null }, 'mark');
  expect(await foreign.opened).toBeNull();
  expect(await foreign.frame(() => false)).toBeNull();
  expect(foreign.silence('READY')).toMatch(/answered with what is no frame of Rowcast/);
});

test('the probe tells at which hop an event gets lost', async () => {
  const secret = 'a secret that is long enough for HS256';
  const key = new TextEncoder().encode(secret);
  const world = await World.start({
    auth: { mode: 'jwt', key: { secret: key }, rolesClaim: 'roles', roomsClaim: 'rooms' },
  });
  const { env } = await leaderOf(world);
  const url = ['--url', world.gateway.websocketUrl];
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('doctor')
    .setExpirationTime('1h')
    .sign(key);
  const endless = await new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('doctor')
    .sign(key);
  const other = await World.start();
  const [refused, welcome, forEver, elsewhere, away] = await Promise.all([
    doctor(env, ...url, '--token', 'no-token'),
    doctor(env, ...url, '--token', token),
    doctor(env, ...url, '--token', endless),
    doctor(other.environment(), ...url, '--token', token),
    doctor(env, '--url', 'ws://127.0.0.1:1/x'),
  ]);
  expect(refused.problems['probe: connect']).toMatch(
    /refused with 401: .* DO send a token that is valid/,
  );
  expect(welcome.problems).toEqual({});
  expect(welcome.warnings).not.toHaveProperty('probe: token');
  expect(forEver.problems).toEqual({});
  expect(forEver.warnings['probe: token']).toMatch(/it has no exp: .* CONNECTION_TTL_SECONDS/);
  expect(elsewhere.problems['probe: stored']).toMatch(
    /its item is not in table .* DO CONNECTIONS_TABLE of the \$connect Lambda/,
  );
  expect(away.problems['probe: connect']).toMatch(/cannot be reached: .*ECONNREFUSED/);
});
