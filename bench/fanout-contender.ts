/**
 * One way to post, in a process of its own: `NAME URL CONNECTIONS`; told how many frames to
 * broadcast, answers what that cost.
 */

import { EventEmitter } from 'node:events';
import {
  ApiGatewayManagementApiClient,
  type ApiGatewayManagementApiClientConfig,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import { pino } from 'pino';
import { Pool } from 'undici';
import { systemClock } from '../src/clock.ts';
import { GatewayClient } from '../src/gateway/gateway-client.ts';
import { Fanout } from '../src/pusher/fanout.ts';
import type { FanoutEvents } from '../src/pusher/fanout-owner.ts';

const CREDENTIALS = {
  accessKeyId: 'AKIDBENCH',
  secretAccessKey: 'bench',
  sessionToken: 'x'.repeat(700),
};
const REGION = 'eu-central-1';
const FRAME = Buffer.from(
  `{"id":"1842","type":"NEW_MESSAGE","data":${JSON.stringify({ content: 'x'.repeat(500) })}}`,
);
const CONCURRENCY = 128;
/** The SDK's default. */
const SDK_SOCKETS = 50;

interface Contender {
  /** Posts one frame to each connection. */
  broadcast(ids: readonly string[]): Promise<unknown>;
}

export interface Measured {
  readonly postsPerSecond: number;
  readonly cpuMicrosPerPost: number;
}

async function measure(
  contender: Contender,
  ids: readonly string[],
  frames: number,
): Promise<Measured> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let n = 0; n < frames; n++) await contender.broadcast(ids);
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const posts = frames * ids.length;
  return { postsPerSecond: posts / seconds, cpuMicrosPerPost: (user + system) / posts };
}

function ours(endpoint: string, ids: readonly string[]): Contender {
  const gateway = new GatewayClient({
    endpoint,
    region: REGION,
    credentials: CREDENTIALS,
    maxSockets: CONCURRENCY,
    connectTimeoutMs: 2000,
    requestTimeoutMs: 5000,
  });
  const fanout = new Fanout({
    clock: systemClock,
    events: new EventEmitter<FanoutEvents>(),
    gateway,
    log: pino({ level: 'silent' }),
    mayPost: () => true,
    maxPostsInFlight: CONCURRENCY,
    postsPerSecondLimit: 1_000_000,
    maxFrameBytes: 32_000,
    deliveryDeadlineMs: 30_000,
  });
  for (const [n, connectionId] of ids.entries()) {
    const connection = { connectionId, userId: `user-${n}`, connectedAt: 0, ttl: 0 };
    fanout.open(connection);
    fanout.goLive(connection);
  }
  return { broadcast: () => fanout.dispatch([{ audience: ['all'], encode: () => FRAME }]).settled };
}

function sdk(
  endpoint: string,
  sockets: number,
  tuning: ApiGatewayManagementApiClientConfig,
): Contender {
  const client = new ApiGatewayManagementApiClient({
    endpoint,
    region: REGION,
    credentials: CREDENTIALS,
    ...tuning,
    requestHandler: { httpAgent: { keepAlive: true, maxSockets: sockets } },
  });
  return {
    broadcast: (ids) =>
      concurrently(ids, sockets, (ConnectionId) =>
        client.send(new PostToConnectionCommand({ ConnectionId, Data: FRAME })),
      ),
  };
}

/** undici as its documentation shows it. */
function unsigned(endpoint: string): Contender {
  const { origin, pathname } = new URL(endpoint);
  const pool = new Pool(origin, { connections: CONCURRENCY, pipelining: 1 });
  return {
    broadcast: (ids) =>
      concurrently(ids, CONCURRENCY, async (id) => {
        const path = `${pathname}/@connections/${encodeURIComponent(id)}`;
        const { body } = await pool.request({ method: 'POST', path, body: FRAME });
        await body.dump();
      }),
  };
}

/** undici without its promises and streams. */
function dispatched(endpoint: string, headers: string[]): Contender {
  const { origin, pathname } = new URL(endpoint);
  const pool = new Pool(origin, { connections: CONCURRENCY, pipelining: 1 });
  const post = (id: string) =>
    new Promise<void>((resolve, reject) => {
      pool.dispatch(
        {
          method: 'POST',
          path: `${pathname}/@connections/${encodeURIComponent(id)}`,
          headers,
          body: FRAME,
        },
        {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData() {},
          onResponseEnd: () => resolve(),
          onResponseError: (_, error) => reject(error),
        },
      );
    });
  return { broadcast: (ids) => concurrently(ids, CONCURRENCY, post) };
}

/** As long as those of a signed post. */
const HEADERS = [
  'content-type',
  'application/octet-stream',
  'x-amz-date',
  '20261121T070000Z',
  'authorization',
  'x'.repeat(230),
  'x-amz-security-token',
  CREDENTIALS.sessionToken,
];

/** Bounded, because queueing inside the SDK would only make it slower. */
async function concurrently(
  ids: readonly string[],
  limit: number,
  post: (id: string) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < ids.length) await post(ids[next++] as string);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

const [name = '', url = '', connections = ''] = process.argv.slice(2);
const ids = Array.from(
  { length: Number(connections) },
  (_, n) => `${Buffer.from(`bench-${n}`).toString('base64url')}=`,
);
const contenders: Readonly<Record<string, () => Contender>> = {
  ours: () => ours(url, ids),
  sdkDefault: () => sdk(url, SDK_SOCKETS, {}),
  sdkTuned: () => sdk(url, CONCURRENCY, { maxAttempts: 1, cacheMiddleware: true }),
  ceiling: () => unsigned(url),
  dispatch: () => dispatched(url, []),
  dispatchWithHeaders: () => dispatched(url, HEADERS),
};
const contender = contenders[name]?.() as Contender;
process.on('message', async (frames: number) =>
  process.send?.(await measure(contender, ids, frames)),
);
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
