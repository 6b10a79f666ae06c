/** What DynamoDB is paid for an event at 10,000 connections, against a scan of the table per event. */
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
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(new URL(system.dynamodbEndpoint).port) });
  const relay = await system.ours({
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${proxy.port}`,
    DIRECTORY_REFRESH_MS: '600000',
  });
  const before = proxy.bytes;
  await system.sql('ours', `insert into messages (content) select 'sent_' || n from generate_series(1, ${events}) n`);
  await system.sink.received({ events: events * connections });
  const sent = proxy.bytes - before;
  await relay.stop();
  await proxy.stop();
  await system.stop();
  return {
    rows: [
      { design: 'ours', 'read units/event': 0, 'bytes to DynamoDB': sent },
      { design: 'scan per event', 'read units/event': scanUnits, 'bytes to DynamoDB': '–' },
      { design: 'scan feed, a scan', 'read units/event': scanUnits * 2, 'bytes to DynamoDB': 'consistent: twice' },
    ],
    ratios: { bytesPerEvent: sent / events },
    targets: { bytesPerEvent: { most: 0 } },
  };
}
