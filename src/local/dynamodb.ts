import { once } from 'node:events';
import type { RequestListener, Server, ServerResponse } from 'node:http';
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
  const requests = new Requests(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      await requests.finish();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * The requests before Dynalite, which answers every page of every site, and which throws where
 * nobody can catch the error if it is closed while it still works on a request, even on one whose
 * client has gone.
 */
class Requests {
  readonly #answers: RequestListener[];
  readonly #working = new Set<ServerResponse>();
  #finished: (() => void) | undefined;

  constructor(server: Server) {
    this.#answers = server.listeners('request') as RequestListener[];
    server.removeAllListeners('request');
    server.on('request', (request, response) => this.#answer(request, response));
  }

  /** Resolves once none is worked on; further ones are refused. */
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finished = resolve;
      if (this.#working.size === 0) resolve();
    });
  }

  #answer(...[request, response]: Parameters<RequestListener>): void {
    const refusal = refusalOf(request.headers, 'programs');
    if (refusal) return void response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal);
    if (this.#finished) return void response.writeHead(503).end();
    // Dynalite begins with the whole body, and ends each request, heard or not.
    request.once('end', () => this.#working.add(response));
    const end = response.end.bind(response);
    response.end = ((...args: Parameters<typeof end>) => {
      this.#working.delete(response);
      if (this.#working.size === 0) this.#finished?.();
      return end(...args);
    }) as typeof end;
    for (const answer of this.#answers) answer(request, response);
  }
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
