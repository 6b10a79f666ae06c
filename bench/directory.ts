/**
 * DynamoDB's price of an event at 10,000 connections, against a scan of the table per event;
 * and the memory of 100,000 held connections.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DynamoDBDocumentClient, paginateScan } from '@aws-sdk/lib-dynamodb';
import { dynamoDbClient } from '../src/local/dynamodb.ts';
import { TcpProxy } from '../test/support/tcp-proxy.ts';
import type { Outcome, Size } from './outcome.ts';
import { BenchSystem } from './system.ts';

export async function directory(size: Size): Promise<Outcome> {
  const connections = size.of(10_000, 500);
  const events = 20;
  const system = await BenchSystem.start();
  await system.connect(connections);
  const client = dynamoDbClient(system.dynamodbEndpoint);
  let scanUnits = 0;
  const pages = paginateScan(
    { client: DynamoDBDocumentClient.from(client) },
    { TableName: 'websocket_connections', ReturnConsumedCapacity: 'TOTAL' },
  );
  for await (const page of pages) scanUnits += page.ConsumedCapacity?.CapacityUnits ?? 0;
  client.destroy();

  // Everything that the relay says to DynamoDB passes here; its scans are ten minutes apart.
  const proxy = await TcpProxy.start({
    host: '127.0.0.1',
    port: Number(new URL(system.dynamodbEndpoint).port),
  });
  const relay = await system.ours({
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${proxy.port}`,
    DIRECTORY_REFRESH_MS: '600000',
  });
  const before = proxy.bytes;
  await system.sql(
    'ours',
    `insert into messages (content) select 'sent_' || n from generate_series(1, ${events}) n`,
  );
  await system.sink.received({ events: events * connections });
  const sent = proxy.bytes - before;
  await relay.stop();
  await proxy.stop();
  await system.stop();
  const heldMb = await held(size.of(100_000, 1000));
  return {
    rows: [
      { what: 'ours, an event', 'read units': 0, 'bytes to DynamoDB': sent / events },
      { what: 'a scan per event', 'read units': scanUnits },
      { what: 'ours, a scan of the scan feed (consistent)', 'read units': scanUnits * 2 },
    ],
    ratios: { bytesPerEvent: sent / events, heldMb },
    targets: { bytesPerEvent: { most: 0 }, heldMb: { most: 150 } },
  };
}

/** Heap of so many connections with their lanes, MB: held.ts in a process of its own. */
async function held(connections: number): Promise<number> {
  const script = fileURLToPath(new URL('held.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    '--import',
    'tsx',
    script,
    String(connections),
  ]);
  return Number(stdout);
}
