import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { NOBODY } from '../../../src/gateway/gateway-check.ts';

/** How a request is answered instead of being passed on. */
export type Fault =
  | { readonly status: number; readonly type?: string; readonly requestId?: string }
  | 'reset'
  | 'hang';

/**
 * Before the gateway's callback API: passes requests on, or answers as API Gateway does when it
 * throttles, fails, or does not answer. The local gateway itself never does any of these.
 */
export class FaultProxy {
  /** The fault of a request, or null to pass it on, at once or later. Replaced by tests. */
  fault: (request: {
    method: string;
    connectionId: string;
  }) => Fault | null | Promise<Fault | null> = () => null;
  /** Delays the passing on, in the order of arrival. */
  gate: Promise<unknown> = Promise.resolve();
  /** How far its clock is ahead. */
  clockOffsetMs = 0;
  /** POSTs that came, and those among them that were passed on. */
  posts = 0;
  passed = 0;
  readonly #target: URL;
  readonly #server: Server;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((incoming, response) => void this.#handle(incoming, response));
  }

  static async start(target: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#target.pathname}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = incoming.method as string;
    const connectionId = decodeURIComponent((incoming.url as string).split('/').at(-1) as string);
    // A daemon's check of itself is none of a client's posts.
    const counts = method === 'POST' && connectionId !== NOBODY;
    if (counts) this.posts++;
    const fault = await this.fault({ method, connectionId });
    if (fault === 'hang') return;
    if (fault === 'reset') return void incoming.socket.resetAndDestroy();
    if (fault) {
      incoming.resume();
      response.writeHead(fault.status, {
        'content-type': 'application/json',
        ...(fault.requestId ? { 'x-amzn-requestid': fault.requestId } : {}),
        'x-amzn-errortype': fault.type ?? ERROR_TYPES[fault.status] ?? 'InternalFailure',
      });
      response.end('{"message":null}');
      return;
    }
    await this.gate;
    if (counts) this.passed++;
    const outgoing = request({
      host: this.#target.hostname,
      port: this.#target.port,
      method,
      path: incoming.url,
      headers: incoming.headers,
    });
    outgoing.on('response', (answer) => {
      const date = new Date(Date.now() + this.clockOffsetMs).toUTCString();
      response.writeHead(answer.statusCode as number, { ...answer.headers, date });
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  }
}

const ERROR_TYPES: Readonly<Record<number, string>> = {
  403: 'ForbiddenException',
  410: 'GoneException',
  413: 'PayloadTooLargeException',
  429: 'LimitExceededException',
};
