import {
  ApiGatewayManagementApiClient,
  type ApiGatewayManagementApiClientConfig,
  DeleteConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import { errorText } from '../error-text.ts';
import { Credentials } from './credentials.ts';
import type { Payload } from './payload.ts';
import { PostClient } from './post-client.ts';
import type { PostOutcome } from './post-outcome.ts';

/** What delivery needs of API Gateway. Outcomes are data: neither call throws. */
export interface Gateway {
  /** POST /@connections/{id} */
  post(connectionId: string, payload: Payload): Promise<PostOutcome>;
  /** DELETE /@connections/{id}: the client is disconnected and comes back with its cursor. */
  close(connectionId: string): Promise<PostOutcome>;
}

/**
 * API Gateway's callback API: the SDK for everything but posts (post-client.ts), which use its credentials. The SDK
 * has no time-outs of its own, and retries: both are set here.
 */
export class GatewayClient implements Gateway {
  readonly #client: ApiGatewayManagementApiClient;
  readonly #posts: PostClient;
  readonly #requestTimeoutMs: number;

  constructor(options: GatewayClientOptions) {
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#client = new ApiGatewayManagementApiClient({
      region: options.region,
      endpoint: options.endpoint,
      ...(options.credentials ? { credentials: options.credentials } : {}),
      // Retries are the lanes' business: only they know what else waits.
      maxAttempts: 1,
      requestHandler: {
        connectionTimeout: options.connectTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        throwOnRequestTimeout: true,
      },
    });
    this.#posts = new PostClient({ ...options, credentials: new Credentials(this.#client.config.credentials) });
  }

  post(connectionId: string, payload: Payload): Promise<PostOutcome> {
    return this.#posts.post(connectionId, payload);
  }

  close(connectionId: string): Promise<PostOutcome> {
    return outcomeOf(
      (options) => this.#client.send(new DeleteConnectionCommand({ ConnectionId: connectionId }), options),
      this.#requestTimeoutMs,
    );
  }

  /** Ends the idle sockets. */
  destroy(): void {
    this.#posts.destroy();
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
    const reason = `${name ?? 'Error'}: ${message ?? errorText(error)}`;
    if (status === 410) return { kind: 'gone' };
    if (status === 429) return { kind: 'throttled' };
    if (status === 400 || status === 413) return { kind: 'rejected', status, reason };
    return { kind: 'failed', ...(status === undefined ? {} : { status }), reason };
  }
}
