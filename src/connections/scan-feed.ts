import { type AttributeValue, ScanCommand } from '@aws-sdk/client-dynamodb';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { errorText } from '../error-text.ts';
import type { Connection } from './connection.ts';
import { FeedLoop, type FeedLoopDeps } from './feed-loop.ts';
import { connectionOf } from './table-item.ts';

/**
 * Two hours, and a minute for clocks
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
 */
const MAX_CONNECTION_MS = 7_260_000;

/**
 * Fills the directory by scanning the table every `refreshIntervalMs`. Consistent reads are what
 * lets the directory say how fresh it is. For small fleets: 10,000 connections are about 2 MB, 500
 * read units a scan.
 */
export class ScanFeed extends FeedLoop<ScanFeedDeps> {
  protected async round(tableRead: () => void): Promise<void> {
    const readBeganAt = Date.now();
    this.deps.sink.replaceAll(
      await scanConnections(this.deps, readBeganAt, this.signal),
      readBeganAt,
    );
    tableRead();
  }

  protected failed(error: unknown, failures: number): void {
    const { table } = this.deps;
    this.log.log(
      'warn',
      'directory_scan_failed',
      { event: 'directory_scan_failed', table, failures, error: errorText(error) },
      'cannot read the connections table; delivering to the connections known so far',
    );
  }
}

/**
 * All connections in the table that may be open. Consistent: what was written before the scan began
 * is in it.
 * @param now epoch ms
 */
export async function scanConnections(
  from: TableReader,
  now: number,
  signal: AbortSignal,
): Promise<Connection[]> {
  const seen: Connection[] = [];
  let after: Record<string, AttributeValue> | undefined;
  do {
    const command = new ScanCommand({
      TableName: from.table,
      ConsistentRead: true,
      // An expired connection may have its socket for as long as API Gateway lets any live.
      FilterExpression: '#ttl > :now OR connectedAt > :oldest',
      ExpressionAttributeNames: { '#ttl': 'ttl' },
      ExpressionAttributeValues: {
        ':now': { N: String(Math.floor(now / 1000)) },
        ':oldest': { N: String(now - MAX_CONNECTION_MS) },
      },
      ...(after ? { ExclusiveStartKey: after } : {}),
    });
    // Items as they are: the document client fails a page whose numbers are too large.
    const page = await from.client.send(command, { abortSignal: signal });
    for (const item of page.Items ?? []) {
      const connection = connectionOf(item);
      if (connection) seen.push(connection);
    }
    after = page.LastEvaluatedKey;
  } while (after);
  return seen;
}

export interface TableReader {
  readonly client: DynamoDBDocumentClient;
  readonly table: string;
}

export type ScanFeedDeps = TableReader & FeedLoopDeps;
