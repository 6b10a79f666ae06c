import { Readable } from 'node:stream';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBStreamsClient } from '@aws-sdk/client-dynamodb-streams';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { Logger } from 'pino';
import type { ConnectionDirectory, ConnectionFeed } from '../connections/connection-directory.ts';
import { ScanFeed, type TableReader } from '../connections/scan-feed.ts';
import { StreamFeed } from '../connections/stream-feed.ts';
import { GatewayClient } from '../gateway/gateway-client.ts';
import type { Config } from './config.ts';

const CONNECT_TIMEOUT_MS = 2000;
const REQUEST_TIMEOUT_MS = 5000;

/** For an answer, from its head to its end. */
const ANSWER_DEADLINE_MS = 10_000;

/**
 * The SDK's time-out ends with an answer's head: a body of a byte a second would go on for ever.
 */
function endTrickle<Result extends { readonly response: unknown }>(result: Result): Result {
  const { body } = result.response as { body?: unknown };
  if (body instanceof Readable) {
    const late = new Error(`no whole answer within ${ANSWER_DEADLINE_MS} ms`);
    const timer = setTimeout(() => body.destroy(late), ANSWER_DEADLINE_MS);
    body.once('close', () => clearTimeout(timer));
  }
  return result;
}

/** Next to the network: before an answer's body is read. */
const LAST = { step: 'deserialize', priority: 'low' } as const;

/** The daemon's clients of AWS, with time-outs, which the SDK does not have by itself. */
export class AwsClients {
  readonly dynamodb: DynamoDBClient;
  readonly gateway: GatewayClient;
  readonly table: TableReader;
  readonly #config: Config;
  readonly #streams: DynamoDBStreamsClient;

  constructor(config: Config) {
    const client = {
      region: config.region,
      requestHandler: {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        throwOnRequestTimeout: true,
      },
    };
    this.#config = config;
    this.dynamodb = new DynamoDBClient(client);
    this.#streams = new DynamoDBStreamsClient(client);
    this.dynamodb.middlewareStack.add((next) => async (args) => endTrickle(await next(args)), LAST);
    this.#streams.middlewareStack.add((next) => async (args) => endTrickle(await next(args)), LAST);
    this.table = {
      client: DynamoDBDocumentClient.from(this.dynamodb),
      table: config.connectionsTable,
    };
    this.gateway = new GatewayClient({
      endpoint: config.gatewayEndpoint,
      region: config.region,
      maxSockets: config.relay.maxPostsInFlight,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
    });
  }

  /** Fills the directory, as DIRECTORY_FEED says. */
  feedInto(sink: ConnectionDirectory, log: Logger): ConnectionFeed {
    const { directoryRefreshMs: refreshIntervalMs, directoryFeed } = this.#config;
    const feed = { ...this.table, refreshIntervalMs, sink, log };
    return directoryFeed === 'stream'
      ? new StreamFeed({ ...feed, dynamodb: this.dynamodb, streams: this.#streams })
      : new ScanFeed(feed);
  }

  destroy(): void {
    this.gateway.destroy();
    this.dynamodb.destroy();
    this.#streams.destroy();
  }
}
