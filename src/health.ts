import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * `/healthz`: the process turns its event loop: 200. `/readyz`: it does its part, 200, or 503 with the reasons. A
 * standby is ready: a rolling deploy that waited for a second leader would never end. `/metrics`: in Prometheus's format.
 */
export class HealthServer {
  readonly #server: Server;
  readonly #port: number;

  constructor(deps: { port: number; readiness: () => Readiness; metrics: () => Promise<string> }) {
    this.#port = deps.port;
    this.#server = createServer(async (request, response) => {
      const path = request.url?.split('?')[0];
      if (path === '/metrics') {
        response
          .writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
          .end(await deps.metrics());
        return;
      }
      const answer =
        path === '/healthz' ? { ready: true, pid: process.pid } : path === '/readyz' ? deps.readiness() : null;
      response.writeHead(answer === null ? 404 : answer.ready ? 200 : 503, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(answer ?? { error: 'not found; there are /healthz, /readyz and /metrics' })}\n`);
    });
  }

  /** @returns the port, chosen by the system for port 0. @throws EADDRINUSE and the like */
  async start(): Promise<number> {
    this.#server.listen(this.#port);
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}

export interface Readiness {
  readonly ready: boolean;
  readonly role?: string;
  readonly pid?: number;
  /** What is missing, in words. */
  readonly reasons?: readonly string[];
}
