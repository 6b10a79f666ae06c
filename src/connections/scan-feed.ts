import { type DynamoDBDocumentClient, paginateScan } from '@aws-sdk/lib-dynamodb';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs, pause } from '../backoff.ts';
import { type Connection, fromItem } from './connection.ts';
import type { ConnectionFeed, DirectorySink } from './connection-directory.ts';

/** After a failed scan: 0.25–0.5 s, then doubling, at most 10 s. The directory goes on with what it has. */
const RETRY: Backoff = { baseMs: 500, capMs: 10_000 };

/**
 * Two hours, and a minute for clocks
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
 */
const MAX_CONNECTION_MS = 7_260_000;

/**
 * Fills the directory by scanning the table every `refreshIntervalMs`. Consistent reads are
 * what lets the directory say how fresh it is. For small
 * fleets: 10,000 connections are about 2 MB, 500 read units a scan.
 */
export class ScanFeed implements ConnectionFeed {
  readonly #deps: ScanFeedDeps;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;

  constructor(deps: ScanFeedDeps) {
    this.#deps = deps;
  }

  /** Resolves once the table was read whole for the first time. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#running ??= this.#run(resolve);
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(onFirstScan: () => void): Promise<void> {
    let failures = 0;
    while (!this.#abort.signal.aborted) {
      this.#deps.sink.expire(Date.now());
      try {
        await this.#scan();
        failures = 0;
        onFirstScan();
      } catch (error) {
        if (this.#abort.signal.aborted) break;
        failures++;
        this.#deps.log.warn(
          { event: 'directory_scan_failed', table: this.#deps.table, failures, error: describe(error) },
          'cannot read the connections table; delivering to the connections known so far',
        );
      }
      await pause(failures ? backoffDelayMs(RETRY, failures) : this.#deps.refreshIntervalMs, this.#abort.signal);
    }
  }

  async #scan(): Promise<void> {
    const readBeganAt = Date.now();
    this.#deps.sink.replaceAll(await scanConnections(this.#deps, readBeganAt, this.#abort.signal), readBeganAt);
  }
}

/**
 * All connections in the table that may be open. Consistent: what was written before the scan began is in it.
 * @param now epoch ms
 */
export async function scanConnections(from: TableReader, now: number, signal: AbortSignal): Promise<Connection[]> {
  const seen: Connection[] = [];
  const pages = paginateScan(
    { client: from.client },
    {
      TableName: from.table,
      ConsistentRead: true,
      // One that has expired may still have its socket, for as long as API Gateway lets any live.
      FilterExpression: '#ttl > :now OR connectedAt > :oldest',
      ExpressionAttributeNames: { '#ttl': 'ttl' },
      ExpressionAttributeValues: { ':now': Math.floor(now / 1000), ':oldest': now - MAX_CONNECTION_MS },
    },
    { abortSignal: signal },
  );
  for await (const page of pages) {
    for (const item of page.Items ?? []) {
      const connection = fromItem(item);
      if (connection) seen.push(connection);
    }
  }
  return seen;
}

export interface TableReader {
  readonly client: DynamoDBDocumentClient;
  readonly table: string;
}

export interface ScanFeedDeps extends TableReader {
  readonly refreshIntervalMs: number;
  readonly sink: DirectorySink;
  readonly log: Logger;
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
