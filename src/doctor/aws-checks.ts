import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { checkTable } from '../connections/table-check.ts';
import type { Config } from '../daemon/config.ts';
import { errorText } from '../error-text.ts';
import { checkGateway } from '../gateway/gateway-check.ts';
import { GatewayClient } from '../gateway/gateway-client.ts';
import { type Finding, type Findings, findingsOf } from './finding.ts';

const { ok, warning, problem } = findingsOf('aws');
const TIMEOUT_MS = 5000;

/**
 * The gateway's callback API and the connections table, as this machine's credentials reach them.
 */
export async function* awsFindings(config: Config): Findings {
  yield await gatewayFinding(config);
  const dynamodb = new DynamoDBClient({
    region: config.region,
    requestHandler: {
      connectionTimeout: 2000,
      requestTimeout: TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
    maxAttempts: 1,
  });
  try {
    yield* tableFindings(config, dynamodb);
  } finally {
    dynamodb.destroy();
  }
}

async function gatewayFinding({ gatewayEndpoint: endpoint, region }: Config): Promise<Finding> {
  const gateway = new GatewayClient({
    endpoint,
    region,
    maxSockets: 1,
    connectTimeoutMs: 2000,
    requestTimeoutMs: TIMEOUT_MS,
  });
  try {
    const sick = await checkGateway(gateway);
    return sick
      ? problem('gateway', sick)
      : ok('gateway', `${endpoint} takes posts, signed with this machine's credentials`);
  } finally {
    gateway.destroy();
  }
}

async function* tableFindings(
  { connectionsTable: table, directoryFeed }: Config,
  client: DynamoDBClient,
): Findings {
  const stream = directoryFeed === 'stream';
  const { problem: sick, warning: note } = await checkTable(client, { table, stream });
  if (sick) return yield problem('table', sick);
  yield ok('table', `${table} has the right key${stream ? ', and a stream of both images' : ''}`);
  yield note ? warning('table ttl', note) : ok('table ttl', 'expired connections are deleted');
  try {
    await DynamoDBDocumentClient.from(client).send(
      new ScanCommand({ TableName: table, Limit: 1, ConsistentRead: true }),
    );
    yield ok('table rights', 'it may be read');
  } catch (error) {
    yield problem(
      'table rights',
      errorText(error),
      'give the role dynamodb:Scan and dynamodb:DeleteItem on the table',
    );
  }
}
