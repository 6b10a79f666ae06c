import {
  ApiGatewayManagementApiClient,
  type ApiGatewayManagementApiClientConfig,
  DeleteConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import { errorText } from '../error-text.ts';
import type { Gateway, PostOutcome } from '../pusher/gateway.ts';
import type { Payload } from '../pusher/payload.ts';
import { Credentials } from './credentials.ts';
import { outcomeOf } from './outcome-of.ts';
import { PostClient } from './post-client.ts';

/**
 * API Gateway's callback API: the SDK for everything but posts (post-client.ts), which use its
 * credentials. The SDK has no time-outs of its own, and retries: both are set here.
 */
export class GatewayClient implements Gateway {
  /**
   * API Gateway answers 410 until `$connect` has returned, and knows a connection for at most the
   * Lambda's 29 s before that.
   */
  readonly knownWithinMs = 30_000;
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
    this.#posts = new PostClient({
      ...options,
      credentials: new Credentials(this.#client.config.credentials),
    });
  }

  post(connectionId: string, payload: Payload): Promise<PostOutcome> {
    return this.#posts.post(connectionId, payload);
  }

  async close(connectionId: string): Promise<PostOutcome> {
    const abortSignal = AbortSignal.timeout(this.#requestTimeoutMs * 2);
    try {
      const command = new DeleteConnectionCommand({ ConnectionId: connectionId });
      const { $metadata } = await this.#client.send(command, { abortSignal });
      return outcomeOf($metadata.httpStatusCode, () => '');
    } catch (error) {
      // Behind a proxy, or without API Gateway's error header, the SDK calls a 410 `Unknown` or
      // `SyntaxError`.
      const { $metadata, name } = error as {
        $metadata?: { httpStatusCode?: number };
        name?: string;
      };
      return outcomeOf($metadata?.httpStatusCode, () => `${name ?? 'Error'}: ${errorText(error)}`);
    }
  }

  /** Ends the idle sockets. */
  destroy(): void {
    this.#posts.destroy();
    this.#client.destroy();
  }
}

export interface GatewayClientOptions {
  /**
   * `https://{api}.execute-api.{region}.amazonaws.com/{stage}`, or a custom domain without the
   * stage.
   */
  readonly endpoint: string;
  readonly region: string;
  readonly maxSockets: number;
  readonly connectTimeoutMs: number;
  /** From sending the request to the end of the answer. */
  readonly requestTimeoutMs: number;
  /** The SDK's provider chain where it is not given. */
  readonly credentials?: NonNullable<ApiGatewayManagementApiClientConfig['credentials']>;
}
