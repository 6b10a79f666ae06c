import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  ApiGatewayManagementApiClient,
  type ApiGatewayManagementApiClientConfig,
  DeleteConnectionCommand,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import type { PostOutcome } from './post-outcome.ts';

/** What delivery needs of API Gateway. Outcomes are data: neither call throws. */
export interface Gateway {
  /** POST /@connections/{id} */
  post(connectionId: string, payload: Uint8Array): Promise<PostOutcome>;
  /** DELETE /@connections/{id}: the client is disconnected and comes back with its cursor. */
  close(connectionId: string): Promise<PostOutcome>;
}

/**
 * API Gateway's callback API through the SDK. The SDK has no time-outs of its own, retries posts that may have
 * arrived, and queues without bound at 50 sockets: all three are set here.
 */
export class GatewayClient implements Gateway {
  readonly #client: ApiGatewayManagementApiClient;
  readonly #requestTimeoutMs: number;

  constructor(options: GatewayClientOptions) {
    const agent = { maxSockets: options.maxSockets, keepAlive: true };
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#client = new ApiGatewayManagementApiClient({
      region: options.region,
      endpoint: options.endpoint,
      ...(options.credentials ? { credentials: options.credentials } : {}),
      // Retries are the lanes' business: only they know what else waits.
      maxAttempts: 1,
      requestHandler: {
        httpAgent: new HttpAgent(agent),
        httpsAgent: new HttpsAgent(agent),
        connectionTimeout: options.connectTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        throwOnRequestTimeout: true,
      },
    });
  }

  post(connectionId: string, payload: Uint8Array): Promise<PostOutcome> {
    return outcomeOf(
      (options) =>
        this.#client.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: payload }), options),
      this.#requestTimeoutMs,
    );
  }

  close(connectionId: string): Promise<PostOutcome> {
    return outcomeOf(
      (options) => this.#client.send(new DeleteConnectionCommand({ ConnectionId: connectionId }), options),
      this.#requestTimeoutMs,
    );
  }

  /** Ends the idle sockets. */
  destroy(): void {
    this.#client.destroy();
  }
}

export interface GatewayClientOptions {
  /** `https://{api}.execute-api.{region}.amazonaws.com/{stage}`, or a custom domain without the stage. */
  readonly endpoint: string;
  readonly region: string;
  readonly maxSockets: number;
  readonly connectTimeoutMs: number;
  /** From sending the request to the end of the answer. */
  readonly requestTimeoutMs: number;
  /** The SDK's provider chain where it is not given. */
  readonly credentials?: NonNullable<ApiGatewayManagementApiClientConfig['credentials']>;
}

/**
 * Errors are told apart by HTTP status, never by name: behind a proxy, or without API Gateway's error header,
 * the SDK calls a 410 `Unknown` or `SyntaxError`.
 */
async function outcomeOf(
  request: (options: { abortSignal: AbortSignal }) => Promise<unknown>,
  timeoutMs: number,
): Promise<PostOutcome> {
  try {
    await request({ abortSignal: AbortSignal.timeout(timeoutMs * 2) });
    return { kind: 'delivered' };
  } catch (error) {
    const { $metadata, name, message } = error as {
      $metadata?: { httpStatusCode?: number };
      name?: string;
      message?: string;
    };
    const status = $metadata?.httpStatusCode;
    const reason = `${name ?? 'Error'}: ${message ?? String(error)}`;
    if (status === 410) return { kind: 'gone' };
    if (status === 429) return { kind: 'throttled' };
    if (status === 400 || status === 413) return { kind: 'rejected', status, reason };
    return { kind: 'failed', ...(status === undefined ? {} : { status }), reason };
  }
}
