import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { DynamoDBStreamsClient } from '@aws-sdk/client-dynamodb-streams';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  ConnectionDirectory,
  type ConnectionFeed,
} from '../../src/connections/connection-directory.ts';
import { ConnectionStore } from '../../src/connections/connection-store.ts';
import { ScanFeed } from '../../src/connections/scan-feed.ts';
import { StreamFeed } from '../../src/connections/stream-feed.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from '../../src/local/dev-environment.ts';
import { createConnectionsTable, dynamoDbClient } from '../../src/local/dynamodb.ts';
import { connection } from '../support/dynamodb/connection.ts';
import { StreamsServer } from '../support/dynamodb/streams-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

/** A table behind a proxy that can freeze it, and a directory that a feed fills. */
async function start(kind: 'scan' | 'stream', server: { endpoint: string }) {
  const proxy = await TcpProxy.start({
    host: '127.0.0.1',
    port: Number(new URL(server.endpoint).port),
  });
  const endpoint = `http://127.0.0.1:${proxy.port}`;
  const table = `feed_${Math.random().toString(36).slice(2)}`;
  const direct = dynamoDbClient(server.endpoint);
  await createConnectionsTable(direct, table, { stream: true });
  const requestHandler = {
    connectionTimeout: 500,
    requestTimeout: 500,
    throwOnRequestTimeout: true,
  };
  const dynamodb = dynamoDbClient(endpoint);
  const streams = new DynamoDBStreamsClient({
    endpoint,
    region: LOCAL_REGION,
    credentials: LOCAL_CREDENTIALS,
    requestHandler,
    maxAttempts: 1,
  });
  const directory = new ConnectionDirectory();
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
  const deps = {
    client: DynamoDBDocumentClient.from(dynamodb),
    table,
    refreshIntervalMs: 20,
    sink: directory,
    log,
  };
  const feed: ConnectionFeed =
    kind === 'scan' ? new ScanFeed(deps) : new StreamFeed({ ...deps, dynamodb, streams });
  onTestFinished(async () => {
    await feed.stop();
    await feed.stop();
    await proxy.stop();
    for (const client of [direct, dynamodb, streams]) client.destroy();
  });
  const store = new ConnectionStore({ client: DynamoDBDocumentClient.from(direct), table });
  const ids = () => [...directory.all()].map(({ connectionId }) => connectionId).sort();
  return { feed, directory, store, proxy, ids };
}

async function streamsServer(): Promise<StreamsServer> {
  const server = await StreamsServer.start();
  onTestFinished(() => void server.stop());
  return server;
}

/** moto_server where it is installed: another implementation of DynamoDB Streams than ours. */
async function motoServer(): Promise<{ endpoint: string }> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  const moto: ChildProcess = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  });
  onTestFinished(() => void moto.kill('SIGKILL'));
  const endpoint = `http://127.0.0.1:${port}`;
  await expect
    .poll(() =>
      fetch(endpoint).then(
        () => 'up',
        () => 'down',
      ),
    )
    .toBe('up');
  return { endpoint };
}

const hasMoto = (() => {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();
const { TEST_DYNAMODB_ENDPOINT } = process.env;
const SERVERS: [string, () => Promise<{ endpoint: string }>][] = [
  ['a stream of our own over dynalite', streamsServer],
];
if (hasMoto) SERVERS.push(['moto_server', motoServer]);
if (TEST_DYNAMODB_ENDPOINT)
  SERVERS.push(['TEST_DYNAMODB_ENDPOINT', async () => ({ endpoint: TEST_DYNAMODB_ENDPOINT })]);

describe.each(SERVERS)('%s', (_, startServer) => {
  describe.each(['scan', 'stream'] as const)('the %s feed', (kind) => {
    test('reads every page, leaves out what is no connection, and follows changes', async () => {
      const { feed, directory, store, ids } = await start(kind, await startServer());
      const large = {
        rooms: Array.from({ length: 100 }, (_, i) => `room-${i}-${'x'.repeat(100)}`),
      };
      const all = Array.from({ length: 200 }, (_, i) => `id-${i}`);
      await Promise.all(all.map((id) => store.put(connection(id, large))));
      await store.put(connection('expired', { ttl: 1 }));
      await store.put(connection('broken', { userId: undefined as unknown as string }));
      await feed.start();
      expect(ids()).toEqual([...all].sort());
      expect([...directory.all()][0]?.rooms).toHaveLength(100);
      const asOf = directory.asOf;
      await store.put(connection('new', { roles: ['admin'], cursor: '1.aaaaaaaa', batch: true }));
      await expect.poll(ids).toContain('new');
      expect([...directory.all()].find(({ connectionId }) => connectionId === 'new')).toEqual(
        connection('new', { roles: ['admin'], cursor: '1.aaaaaaaa', batch: true }),
      );
      await store.put(connection('new', { connectedAt: 2 }));
      await expect
        .poll(
          () =>
            [...directory.all()].find(({ connectionId }) => connectionId === 'new')?.connectedAt,
        )
        .toBe(2);
      await store.remove('new');
      await expect.poll(ids).not.toContain('new');
      await store.put(connection('another broken', { userId: undefined as unknown as string }));
      await once(directory, 'upToDate');
      expect(ids()).toEqual([...all].sort());
      expect(directory.asOf).toBeGreaterThanOrEqual(asOf);
    });

    test('keeps a connection that had expired before it was first seen for a later leader', async () => {
      const { feed, directory, store, ids } = await start(kind, await startServer());
      await store.put(
        connection('expired', {
          connectedAt: Date.now() - 60_000,
          ttl: Math.floor(Date.now() / 1000) - 1,
        }),
      );
      await store.put(connection('open'));
      await feed.start();
      expect(ids()).toEqual(['open']);
      expect([...directory.expired()].map(({ connectionId }) => connectionId)).toEqual(['expired']);
      await store.remove('expired');
      await expect.poll(() => [...directory.expired()]).toEqual([]);
    });

    test('goes on with what it knows while the table is away, and misses nothing', async () => {
      const { feed, store, proxy, ids } = await start(kind, await startServer());
      await store.put(connection('before'));
      await store.put(connection('gone'));
      await feed.start();
      proxy.freeze();
      await store.put(connection('meanwhile'));
      await store.remove('gone');
      expect(ids()).toContain('before');
      await expect.poll(ids).toEqual(['before', 'meanwhile']);
    });
  });
});

describe('the stream feed', () => {
  async function following() {
    const server = await streamsServer();
    const started = await start('stream', server);
    await started.store.put(connection('first'));
    await started.feed.start();
    return { server, ...started };
  }

  test('scans once', async () => {
    const { server, store, ids } = await following();
    for (const id of ['a', 'b', 'c']) {
      await store.put(connection(id));
      await expect.poll(ids).toContain(id);
    }
    expect(server.requests.get('Scan')).toBe(1);
  });

  test('follows shards through splits, the parents before the children', async () => {
    const { server, store, proxy, ids } = await following();
    for (let n = 0; n < 2; n++) {
      // All of this is found at once: three generations, of which the middle one takes the longest
      // to read.
      proxy.freeze();
      server.split();
      for (let filler = 0; filler < 30; filler++)
        await store.put(connection(`filler-${filler}`, { connectedAt: n + 1 }));
      await store.put(connection(`kept-${n}`));
      await store.put(connection(`gone-${n}`));
      server.split();
      await store.remove(`gone-${n}`);
      await store.put(connection(`kept-${n}`, { connectedAt: 2 }));
      await expect.poll(ids).toContain(`kept-${n}`);
    }
    const fillers = Array.from({ length: 30 }, (_, filler) => `filler-${filler}`);
    await expect.poll(ids).toEqual(['first', 'kept-0', 'kept-1', ...fillers].sort());
    expect(server.requests.get('Scan')).toBe(1);
  });

  test('goes on after the last record where an iterator has expired', async () => {
    const { server, store, ids } = await following();
    await store.put(connection('a'));
    await expect.poll(ids).toContain('a');
    server.expireIterators();
    await store.put(connection('b'));
    await expect.poll(ids).toEqual(['a', 'b', 'first']);
    expect(server.requests.get('Scan')).toBe(1);
  });

  test('scans again where records were trimmed, or an iterator expired before the first', async () => {
    const { server, store, ids } = await following();
    server.expireIterators();
    await store.put(connection('a'));
    await expect.poll(ids).toEqual(['a', 'first']);
    expect(server.requests.get('Scan')).toBe(2);
    // Written and trimmed between two reads, however often that takes.
    for (let n = 0; server.requests.get('Scan') === 2; n++) {
      await store.put(connection(`b${n}`));
      server.trim();
    }
    await store.remove('a');
    await expect.poll(ids).not.toContain('a');
    expect(ids()).toContain('b0');
  });

  test('says of a table without a stream what to do', async () => {
    const { startDynamoDb } = await import('../../src/local/dynamodb.ts');
    const server = await startDynamoDb();
    onTestFinished(() => server.stop());
    const lines: string[] = [];
    const dynamodb = dynamoDbClient(server.endpoint);
    await createConnectionsTable(dynamodb, 'plain');
    const feed = new StreamFeed({
      client: DynamoDBDocumentClient.from(dynamodb),
      table: 'plain',
      dynamodb,
      streams: new DynamoDBStreamsClient({
        endpoint: server.endpoint,
        region: LOCAL_REGION,
        credentials: LOCAL_CREDENTIALS,
      }),
      refreshIntervalMs: 20,
      sink: new ConnectionDirectory(),
      log: pino({}, { write: (line: string) => void lines.push(line) }),
    });
    void feed.start();
    await expect.poll(() => lines.join()).toContain('enable it, or set DIRECTORY_FEED=scan');
    await feed.stop();
  });
});
