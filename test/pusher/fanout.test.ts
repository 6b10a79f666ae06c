import { EventEmitter } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Connection } from '../../src/connections/connection.ts';
import { GatewayClient } from '../../src/gateway/gateway-client.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from '../../src/local/dev-environment.ts';
import { LocalGateway } from '../../src/local/gateway.ts';
import type { FanoutDeps } from '../../src/pusher/fanout.ts';
import type { FanoutEvents } from '../../src/pusher/fanout-owner.ts';
import type { Gateway, PostOutcome } from '../../src/pusher/gateway.ts';
import { Lane } from '../../src/pusher/lane.ts';
import { nextStep } from '../../src/pusher/retry-policy.ts';
import { TestClient } from '../support/client/client.ts';
import { FaultProxy } from '../support/gateway/fault-proxy.ts';
import { startFanout } from '../support/relay-parts.ts';

const HISTORY = {
  ageMs: 60_000,
  knownWithinMs: 30_000,
  failures: 1,
  failingForMs: 0,
  deadlineMs: 1000,
  othersDelivered: true,
};

/** A fan-out to real clients through a real gateway, with a proxy between that can fail. */
async function start(clients: number, options: Partial<FanoutDeps> & { batch?: boolean } = {}) {
  const gateway = new LocalGateway({
    stage: 's',
    connect: async () => ({ statusCode: 200 }),
    disconnect: async () => ({ statusCode: 200 }),
  });
  await gateway.start();
  const proxy = await FaultProxy.start(gateway.managementUrl);
  const client = new GatewayClient({
    endpoint: proxy.url,
    region: LOCAL_REGION,
    credentials: LOCAL_CREDENTIALS,
    maxSockets: 64,
    connectTimeoutMs: 1000,
    requestTimeoutMs: 1000,
  });
  const events = new EventEmitter<FanoutEvents>();
  const fanout = startFanout(client, { events, ...options });
  onTestFinished(async () => {
    client.destroy();
    await proxy.stop();
    await gateway.stop();
  });
  const sockets = await Promise.all(
    Array.from({ length: clients }, async () => {
      const socket = new TestClient(gateway.websocketUrl);
      await socket.opened;
      return socket;
    }),
  );
  const connections = [...gateway.connections.keys()].map(
    (connectionId): Connection => ({
      connectionId,
      userId: 'u',
      connectedAt: Date.now() - 60_000,
      ttl: 0,
      ...(options.batch ? { batch: true } : {}),
    }),
  );
  for (const connection of connections) {
    fanout.open(connection);
    fanout.goLive(connection);
  }
  const event = (id: number) => ({
    id: String(id),
    audience: ['all'],
    encode: () => Buffer.from(`{"id":"${id}","type":"t"}`),
  });
  const send = (...ids: number[]) => fanout.dispatch(ids.map(event)).settled;
  return { fanout, events, proxy, sockets, connections, send };
}

test('a lane keeps its order through throttling, errors and resets', async () => {
  const { proxy, sockets, send } = await start(3);
  const faults = [{ status: 429 }, null, { status: 500 }, null, 'reset', null] as const;
  proxy.fault = () => faults[proxy.posts % faults.length] ?? null;
  const ids = Array.from({ length: 20 }, (_, i) => i);
  await Promise.all([send(...ids.slice(0, 10)), send(...ids.slice(10))]);
  for (const socket of sockets) expect(socket.ids).toEqual(ids.map(String));
});

test('at most one post is in flight for a connection, and at most so many in all', async () => {
  const { proxy, connections, send } = await start(8, { maxPostsInFlight: 5 });
  const inFlight: { connectionId: string; pass: (passed: null) => void }[] = [];
  proxy.fault = ({ connectionId }) => new Promise((pass) => inFlight.push({ connectionId, pass }));
  const sent = send(1, 2, 3);
  for (let passed = 0; passed < connections.length * 3; passed++) {
    const most = Math.min(5, connections.length * 3 - passed);
    await expect.poll(() => proxy.posts - passed).toBeGreaterThan(0);
    expect(proxy.posts - passed).toBeLessThanOrEqual(most);
    expect(new Set(inFlight.map((post) => post.connectionId)).size).toBe(inFlight.length);
    await expect.poll(() => inFlight.length).toBeGreaterThan(0);
    inFlight.shift()?.pass(null);
  }
  await sent;
  expect(proxy.posts).toBe(connections.length * 3);
});

test('frames that wait for a connection that ended are settled', async () => {
  const { fanout, proxy, connections, send } = await start(1);
  proxy.fault = () => ({ status: 500 });
  const sent = send(1, 2);
  await expect.poll(() => proxy.posts).toBeGreaterThan(0);
  fanout.end(connections[0] as Connection);
  await sent;
  await send(3);
});

test('a 410 is judged by the age that the connection had when the post was made, not when its answer was read', async () => {
  const { fanout, events, proxy, connections, send } = await start(0);
  // It was young when posted to, and is no more when the answer comes.
  const connection: Connection = {
    connectionId: 'young=',
    userId: 'u',
    connectedAt: Date.now() - 29_500,
    ttl: 0,
  };
  expect(connections).toEqual([]);
  fanout.open(connection);
  fanout.goLive(connection);
  const outcomes: string[] = [];
  events
    .on('ended', () => outcomes.push('ended'))
    .on('posted', (_, { kind }) => outcomes.push(kind));
  proxy.fault = () =>
    new Promise((answer) =>
      setTimeout(answer, 700, proxy.posts === 1 ? { status: 410 } : { status: 200 }),
    );
  await send(1);
  expect(outcomes).toEqual(['gone', 'delivered']);
});

test('a connection that claims to be made in the future is removed at a 410 once it has been known for long', () => {
  let uptimeMs = 0;
  const clock = { ...systemClock, uptimeMs: () => uptimeMs };
  const future = Date.now() + 1e9;
  const lane = new Lane({ connectionId: 'c', userId: 'u', connectedAt: future, ttl: 0 }, clock);
  const step = () => nextStep({ kind: 'gone' }, { ...HISTORY, ageMs: lane.ageMs }, clock).step;
  expect(lane.ageMs).toBeGreaterThanOrEqual(0);
  expect(step()).toBe('retry');
  uptimeMs = 31_000;
  expect(step()).toBe('remove');
});

test('a socket that is still to be opened is closed once it is open, and until then is not over', async () => {
  const answers: PostOutcome[] = [{ kind: 'gone' }, { kind: 'gone' }, { kind: 'delivered' }];
  const ended: string[] = [];
  const events = new EventEmitter<FanoutEvents>().on('ended', (_, why) => ended.push(why));
  const gateway: Gateway = {
    knownWithinMs: 30_000,
    post: async () => ({ kind: 'delivered' }),
    close: async () => answers.shift() as PostOutcome,
  };
  const fanout = startFanout(gateway, { events });
  await fanout.close({ connectionId: 'young=', userId: 'u', connectedAt: Date.now(), ttl: 0 });
  expect([answers, ended]).toEqual([[], ['closed']]);
});

test('a frame that the gateway refuses for good is left out, and the next ones go on', async () => {
  const { proxy, sockets, send } = await start(1);
  proxy.fault = () => (proxy.posts === 2 ? { status: 413 } : null);
  await send(1, 2, 3);
  expect(sockets[0]?.ids).toEqual(['1', '3']);
});

test('batches hold all that waits and stay below the frame limit', async () => {
  const { proxy, sockets, send } = await start(1, { batch: true, maxFrameBytes: 200 });
  const ids = Array.from({ length: 30 }, (_, i) => i);
  await send(...ids);
  expect(sockets[0]?.ids).toEqual(ids.map(String));
  expect(Math.max(...(sockets[0]?.messages ?? []).map((text) => text.length))).toBeLessThanOrEqual(
    200,
  );
  expect(proxy.posts).toBeLessThan(10);
});

describe('the policy', () => {
  test.each([
    ['410 of an old connection', { kind: 'gone' }, HISTORY, 'remove'],
    ['410 of a young connection', { kind: 'gone' }, { ...HISTORY, ageMs: 1000 }, 'retry'],
    ['429', { kind: 'throttled' }, HISTORY, 'retry'],
    [
      '429 past the deadline, others are served',
      { kind: 'throttled' },
      { ...HISTORY, failingForMs: 2000 },
      'close',
    ],
    [
      '500 past the deadline, nobody is served',
      { kind: 'failed', reason: '' },
      { ...HISTORY, failingForMs: 2000, othersDelivered: false },
      'retry',
    ],
    ['413', { kind: 'rejected', status: 413, reason: '' }, HISTORY, 'skip'],
  ] as const)('%s', (_, outcome, history, step) => {
    expect(nextStep(outcome, history, systemClock).step).toBe(step);
  });
});
