/**
 * The plain design, as tutorials and most home-made relays have it: the notification carries the
 * row, each event scans the table of connections, and the SDK posts to all of them at once. Nothing
 * is lost only while nothing fails.
 */
import {
  ApiGatewayManagementApiClient,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, paginateScan } from '@aws-sdk/lib-dynamodb';
import pg from 'pg';

const { DATABASE_URL, WEBSOCKET_ENDPOINT = '', CONNECTIONS_TABLE = '' } = process.env;
const gateway = new ApiGatewayManagementApiClient({ endpoint: WEBSOCKET_ENDPOINT });
const dynamodb = DynamoDBDocumentClient.from(new DynamoDBClient({}));

async function relay(row: string): Promise<void> {
  const Data = Buffer.from(`{"type":"NEW_MESSAGE","data":${row}}`);
  const ids: string[] = [];
  for await (const page of paginateScan({ client: dynamodb }, { TableName: CONNECTIONS_TABLE }))
    for (const item of page.Items ?? []) ids.push(String(item.connectionId));
  await Promise.all(
    ids.map((ConnectionId) => gateway.send(new PostToConnectionCommand({ ConnectionId, Data }))),
  );
}

const client = new pg.Client(DATABASE_URL);
await client.connect();
client.on('notification', ({ payload }) => void relay(String(payload)).catch(console.error));
await client.query('listen messages');
process.send?.('listening');
