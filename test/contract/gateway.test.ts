import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { WebSocketEvent } from '../../src/lambdas/event.ts';
import { LocalGateway, type LocalGatewayOptions } from '../../src/local/gateway.ts';
import { runRoomsRoute } from '../../src/local/rooms-route.ts';
import { TestClient } from '../support/client/client.ts';
import { startTable } from '../support/dynamodb/dynamodb.ts';

async function start(options: Partial<LocalGatewayOptions> = {}) {
  const gateway = new LocalGateway({
    stage: 'prod',
    connect: async () => ({ statusCode: 200 }),
    disconnect: async () => ({ statusCode: 200 }),
    ...options,
  });
  await gateway.start();
  onTestFinished(() => gateway.stop());
  const manage = (id: string, init: RequestInit = {}) =>
    fetch(`${gateway.managementUrl}/@connections/${encodeURIComponent(id)}`, init);
  const connect = (query = '', protocols: string[] = []) =>
    new TestClient(`${gateway.websocketUrl}${query}`, protocols);
  return { gateway, manage, connect, id: () => [...gateway.connections.keys()].at(-1) as string };
}

test('$connect and $disconnect get the events that API Gateway makes', async () => {
  const events: (WebSocketEvent & Record<string, unknown>)[] = [];
  const record = async (event: WebSocketEvent) => ({
    statusCode: events.push(event as WebSocketEvent & Record<string, unknown>) && 200,
    headers: { 'Sec-WebSocket-Protocol': 'rowcast' },
  });
  const { connect } = await start({ connect: record, disconnect: record });
  const client = connect('?token=t%20t&rooms=a&rooms=b', ['rowcast', 'x.y.z']);
  await client.opened;
  await client.close();
  await expect.poll(() => events.length).toBe(2);
  expect(events[0]).toMatchObject({
    headers: { 'Sec-WebSocket-Protocol': 'rowcast,x.y.z' },
    queryStringParameters: { token: 't t', rooms: 'b' },
    multiValueQueryStringParameters: { rooms: ['a', 'b'] },
    requestContext: {
      routeKey: '$connect',
      eventType: 'CONNECT',
      connectedAt: expect.any(Number),
      stage: 'prod',
      connectionId: expect.stringMatching(/=$/),
    },
  });
  expect(events[1]).toMatchObject({
    requestContext: {
      routeKey: '$disconnect',
      eventType: 'DISCONNECT',
      connectionId: events[0]?.requestContext.connectionId,
    },
  });
  expect(events[1]).not.toHaveProperty('queryStringParameters');
});

test.each([401, 403, 500])(
  'a $connect that answers %i refuses the upgrade with it',
  async (statusCode) => {
    const { gateway, connect } = await start({ connect: async () => ({ statusCode, body: 'no' }) });
    expect(await connect().opened).toBe(statusCode);
    expect(gateway.connections.size).toBe(0);
  },
);

test('a $connect that throws is a 500', async () => {
  const { connect } = await start({ connect: () => Promise.reject(new Error('boom')) });
  expect(await connect().opened).toBe(500);
});

test('the subprotocol that the handler answers is the one the client gets', async () => {
  const { connect } = await start({
    connect: async () => ({ statusCode: 200, headers: { 'Sec-WebSocket-Protocol': 'rowcast' } }),
  });
  const client = connect('', ['rowcast', 'token']);
  expect(await client.opened).toBe(101);
  expect(client.socket.protocol).toBe('rowcast');
});

test.each([
  [
    'has left before it was accepted',
    ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'],
  ],
  ['speaks no WebSocket', []],
])('a client that %s is disconnected, and holds nothing up', async (_, headers) => {
  const disconnected: string[] = [];
  let letIn: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letIn = resolve;
  });
  const { gateway, connect } = await start({
    connect: () =>
      gate.then(() => ({ statusCode: 200, headers: { 'Sec-WebSocket-Protocol': 'rowcast' } })),
    disconnect: async ({ requestContext }) => ({
      statusCode: disconnected.push(requestContext.connectionId) && 200,
    }),
  });
  const { port, pathname } = new URL(gateway.websocketUrl);
  const socket = connectTcp(Number(port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(
    [
      'GET',
      pathname,
      'HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n',
    ].join(' ') + [...headers, '', ''].join('\r\n'),
  );
  await expect.poll(() => gateway.connections.size).toBe(1);
  if (headers.length > 0) socket.end();
  await new Promise((resolve) => setImmediate(resolve));
  letIn();
  await expect.poll(() => gateway.connections.size).toBe(0);
  expect(disconnected).toHaveLength(1);
  // Nothing of it is left for the next one.
  const next = connect('', ['rowcast', 'token']);
  expect(await next.opened).toBe(101);
  expect(next.socket.protocol).toBe('rowcast');
  await gateway.stop();
});

test('posts are refused with 410 until $connect has returned', async () => {
  let letIn: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letIn = resolve;
  });
  const { manage, connect, id } = await start({
    connect: () => gate.then(() => ({ statusCode: 200 })),
  });
  const client = connect();
  await expect.poll(() => id()).toBeTruthy();
  expect((await manage(id(), { method: 'POST', body: '{}' })).status).toBe(410);
  letIn();
  await client.opened;
  expect((await manage(id(), { method: 'POST', body: '{"type":"hello"}' })).status).toBe(200);
  await client.frame(({ type }) => type === 'hello');
});

test("the callback API answers with AWS's statuses, error types and bodies", async () => {
  const { gateway, manage, connect, id } = await start();
  const client = connect();
  await client.opened;
  expect(await (await manage(id())).json()).toEqual({
    connectedAt: expect.any(String),
    lastActiveAt: expect.any(String),
    identity: { sourceIp: '127.0.0.1', userAgent: expect.any(String) },
  });
  const gone = await manage('unknown=', { method: 'POST', body: 'x' });
  expect([gone.status, gone.headers.get('x-amzn-errortype')]).toEqual([410, 'GoneException']);
  const large = await manage(id(), { method: 'POST', body: 'x'.repeat(131_073) });
  expect([large.status, large.headers.get('x-amzn-errortype')]).toEqual([
    413,
    'PayloadTooLargeException',
  ]);
  expect(
    (
      await fetch(`${gateway.managementUrl}x/@connections/${encodeURIComponent(id())}`, {
        method: 'POST',
      })
    ).status,
  ).toBe(403);
  const closed = once(client.socket, 'close');
  expect((await manage(id(), { method: 'DELETE' })).status).toBe(204);
  await closed;
});

test('a message of 128 KB arrives as one', async () => {
  const { manage, connect, id } = await start();
  const client = connect();
  await client.opened;
  const text = JSON.stringify({ type: 'large', data: 'x'.repeat(131_000) });
  expect((await manage(id(), { method: 'POST', body: text })).status).toBe(200);
  await client.frame(({ type }) => type === 'large');
  expect(client.messages).toEqual([text]);
});

test('ping is answered with pong, anything else with what a client may send', async () => {
  const { connect } = await start();
  const client = connect();
  await client.opened;
  client.socket.send('{"action":"ping"}');
  await client.frame(({ type }) => type === 'pong');
  client.socket.send('not json');
  expect(await client.frame(({ type }) => type === 'ERROR')).toMatchObject({
    message: expect.stringContaining('{"action":"ping"}'),
    connectionId: expect.any(String),
  });
});

test('rooms that a client asks for are written to its item and to nothing else, whatever it sends', async () => {
  const table = await startTable();
  onTestFinished(() => table.stop());
  const { connect, id } = await start({ table });
  const client = connect();
  await client.opened;
  const ask = (rooms: unknown) => client.socket.send(JSON.stringify({ action: 'rooms', rooms }));
  const answers = () => client.messages.filter((text) => text.includes('Invalid request body'));
  const answered = (count: number) => expect.poll(() => answers().length).toBe(count);
  const context = { connectionId: 'gone', requestId: 'r', requestTimeEpoch: 1 };
  expect(await runRoomsRoute(table, { action: 'rooms', rooms: 'lobby' }, context)).toBeNull();
  expect(await table.items()).toEqual([]);
  await table.store.put({ connectionId: id(), userId: 'ann', connectedAt: 1, ttl: 9_999_999_999 });
  await table.store.put({
    connectionId: 'other',
    userId: 'bob',
    connectedAt: 1,
    ttl: 9_999_999_999,
  });
  for (const wrong of [undefined, null, 7, ['a'], { S: 'a' }, 'x'.repeat(13_001)]) ask(wrong);
  await answered(6);
  expect((await table.items()).every((item) => !('wanted' in item))).toBe(true);
  for (const text of [
    `o'brien", "S": "x`,
    '\u0000\n"}}',
    '$context.connectionId',
    '',
    'lobby, team',
  ]) {
    ask(text);
    const own = async () => (await table.items()).find(({ userId }) => userId === 'ann');
    await expect.poll(async () => (await own())?.wanted).toBe(text);
    expect(await own()).toEqual({
      connectionId: id(),
      userId: 'ann',
      connectedAt: 1,
      ttl: 9_999_999_999,
      wanted: text,
      wantedAt: expect.any(Number),
    });
  }
  expect((await table.items()).find(({ userId }) => userId === 'bob')).not.toHaveProperty('wanted');
  expect(JSON.parse(answers()[0] as string)).toMatchObject({ connectionId: id() });
});

test.each([{ idleTimeoutMs: 50 }, { maxDurationMs: 50 }])(
  'connections are closed by %j',
  async (limit) => {
    const { connect } = await start(limit);
    const client = connect();
    expect((await once(client.socket, 'close'))[0]).toBe(1001);
  },
);
