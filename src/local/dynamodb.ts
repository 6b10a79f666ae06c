import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import {
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ResourceNotFoundException,
} from '@aws-sdk/client-dynamodb';
import { refusalOf } from '../request-guard.ts';
import { LOCAL_CREDENTIALS, LOCAL_REGION } from './dev-environment.ts';

export { LOCAL_ENVIRONMENT } from './dev-environment.ts';

/** No types of its own; a plain http.Server. */
const dynalite = createRequire(import.meta.url)('dynalite') as (options: object) => Server;

/** A DynamoDB on loopback, in memory: connections do not outlive the gateway that made them. */
export async function startDynamoDb(
  port = 0,
): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const server = dynalite({ createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 });
  guard(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Dynalite answers every page of every site. */
function guard(server: Server): void {
  const answers = server.listeners('request') as RequestListener[];
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    const refusal = refusalOf(request.headers, 'programs');
    if (refusal) response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal);
    else for (const answer of answers) answer(request, response);
  });
}

export function dynamoDbClient(endpoint: string): DynamoDBClient {
  return new DynamoDBClient({ endpoint, region: LOCAL_REGION, credentials: LOCAL_CREDENTIALS });
}

/**
 * The connections table as deploy/ makes it, where it is missing. TTL is left out: dynalite has
 * none, nor has it streams.
 * @param options.stream with a stream, in a DynamoDB that has them
 */
export async function createConnectionsTable(
  client: DynamoDBClient,
  table: string,
  options: { stream?: boolean } = {},
): Promise<void> {
  try {
    await client.send(new DescribeTableCommand({ TableName: table }));
    return;
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
  }
  await client.send(
    new CreateTableCommand({
      TableName: table,
      BillingMode: 'PAY_PER_REQUEST',
      ...(options.stream
        ? { StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' } }
        : {}),
      AttributeDefinitions: [
        { AttributeName: 'connectionId', AttributeType: 'S' },
        { AttributeName: 'userId', AttributeType: 'S' },
        { AttributeName: 'address', AttributeType: 'S' },
      ],
      KeySchema: [{ AttributeName: 'connectionId', KeyType: 'HASH' }],
      GlobalSecondaryIndexes: ['userId', 'address'].map((AttributeName) => ({
        IndexName: `${AttributeName}-index`,
        KeySchema: [{ AttributeName, KeyType: 'HASH' as const }],
        Projection: { ProjectionType: 'ALL' as const },
      })),
    }),
  );
  while (
    (await client.send(new DescribeTableCommand({ TableName: table }))).Table?.TableStatus !==
    'ACTIVE'
  );
}
