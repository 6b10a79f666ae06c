import { randomBytes } from 'node:crypto';
import { DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { ConnectionStore } from '../../../src/connections/connection-store.ts';
import {
  createConnectionsTable,
  dynamoDbClient,
  startDynamoDb,
} from '../../../src/local/dynamodb.ts';

/**
 * A connections table of a test's own, in TEST_DYNAMODB_ENDPOINT, in a container of DynamoDB Local
 * with TEST_DYNAMODB=docker (its licence asks for an AWS account, so never unasked), else in
 * dynalite.
 * @param endpoint of a server that runs already
 */
export async function startTable(endpoint?: string): Promise<TestTable> {
  const server = endpoint ? { endpoint, stop: async () => undefined } : await startServer();
  const table = `connections_${randomBytes(4).toString('hex')}`;
  const raw = dynamoDbClient(server.endpoint);
  await createConnectionsTable(raw, table);
  const client = DynamoDBDocumentClient.from(raw);
  return {
    table,
    endpoint: server.endpoint,
    client,
    store: new ConnectionStore({ client, table }),
    items: async () =>
      (await client.send(new ScanCommand({ TableName: table, ConsistentRead: true }))).Items ?? [],
    async stop() {
      raw.destroy();
      await server.stop();
    },
  };
}

async function startServer(): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const { TEST_DYNAMODB_ENDPOINT, TEST_DYNAMODB } = process.env;
  if (TEST_DYNAMODB_ENDPOINT)
    return { endpoint: TEST_DYNAMODB_ENDPOINT, stop: async () => undefined };
  if (TEST_DYNAMODB !== 'docker') return startDynamoDb();
  const { GenericContainer } = await import('testcontainers');
  const container = await new GenericContainer('amazon/dynamodb-local:latest')
    .withExposedPorts(8000)
    .start();
  return {
    endpoint: `http://${container.getHost()}:${container.getMappedPort(8000)}`,
    stop: async () => void (await container.stop()),
  };
}

export interface TestTable {
  readonly table: string;
  readonly endpoint: string;
  readonly client: DynamoDBDocumentClient;
  readonly store: ConnectionStore;
  items(): Promise<Record<string, unknown>[]>;
  stop(): Promise<void>;
}
