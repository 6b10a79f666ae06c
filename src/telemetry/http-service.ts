import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { refusalOf } from '../request-guard.ts';
import type { Service } from '../service.ts';

/** Small answers to GET, by path. */
export class HttpService implements Service {
  readonly #options: HttpServiceOptions;
  readonly #server: Server;
  #starting: Promise<number> | undefined;
  #stopped = false;

  constructor(options: HttpServiceOptions) {
    this.#options = options;
    this.#server = createServer(async (request, response) => {
      const path = request.url?.split('?')[0] ?? '/';
      const refusal = options.localOnly ? refusalOf(request.headers, 'programs') : null;
      const answer = refusal
        ? { status: 403, body: { error: refusal } }
        : await options.answer(path).catch((error: unknown) => ({
            status: 500,
            body: { error: error instanceof Error ? error.message : 'error' },
          }));
      const { status, body } = answer ?? {
        status: 404,
        body: { error: `not found; there are ${options.paths}` },
      };
      const text = typeof body === 'string';
      const type = text ? 'text/plain; version=0.0.4; charset=utf-8' : 'application/json';
      response
        .writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' })
        .end(text ? body : `${JSON.stringify(body)}\n`);
    });
  }

  /** @returns the port, chosen by the system for port 0. @throws EADDRINUSE and the like */
  start(): Promise<number> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<number> {
    if (this.#stopped) return 0;
    this.#server.listen(this.#options.port, this.#options.host);
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting?.catch(() => undefined);
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}

export interface HttpServiceOptions {
  readonly port: number;
  /** The address to listen on; all without it. */
  readonly host?: string | undefined;
  /** Answers programs on this machine, and no page. */
  readonly localOnly?: boolean;
  /** The paths that exist, for the answer to any other. */
  readonly paths: string;
  /** Text, or what becomes JSON; null for a path that there is not. */
  answer(path: string): Promise<Answer | null>;
}

export interface Answer {
  readonly status: number;
  readonly body: string | object;
}
