import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { PING, PONG } from '../../../src/protocol/handshake.ts';

/**
 * A gateway whose frames a test chooses, over real sockets: sequences that a relay sends only when
 * something dies at the right moment, or not at all.
 */
export class ScriptedGateway {
  readonly url: string;
  /** In the order they came. */
  readonly connections: ScriptedConnection[] = [];
  /** Upgrades, refused ones too. */
  attempts = 0;
  /** Answers pings. */
  ponging = true;

  private constructor(url: string) {
    this.url = url;
  }

  /** @param script is run for each connection; where it answers null, the handshake is refused */
  static async start(
    script: (connection: ScriptedConnection, attempt: number) => unknown,
  ): Promise<ScriptedGateway> {
    const server = createServer((_, response) => response.writeHead(403).end());
    const webSockets = new WebSocketServer({ noServer: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const gateway = new ScriptedGateway(
      `ws://127.0.0.1:${(server.address() as AddressInfo).port}/test`,
    );
    server.on('upgrade', (request, socket: Duplex, head) => {
      socket.on('error', () => undefined);
      const query = new URL(request.url ?? '/', 'http://gateway').searchParams;
      const connection = new ScriptedConnection(query);
      if (script(connection, ++gateway.attempts) === null) {
        socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
        return;
      }
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        gateway.connections.push(connection);
        webSocket.on('message', (data) => {
          if (String(data) !== PING) return;
          connection.pings++;
          if (gateway.ponging) webSocket.send(PONG);
        });
        connection.accept(webSocket);
      });
    });
    onTestFinished(() => {
      for (const client of webSockets.clients) client.terminate();
      server.closeAllConnections();
      server.close();
    });
    return gateway;
  }

  /** Sockets that are open. */
  get open(): number {
    return this.connections.filter(({ closed }) => !closed).length;
  }
}

export class ScriptedConnection {
  /** The client's query. */
  readonly query: URLSearchParams;
  pings = 0;
  closed = false;
  readonly #early: string[] = [];
  #cut = false;
  #socket: WebSocket | undefined;

  constructor(query: URLSearchParams) {
    this.query = query;
  }

  accept(socket: WebSocket): void {
    this.#socket = socket;
    socket.on('close', () => {
      this.closed = true;
    });
    for (const text of this.#early) socket.send(text);
    if (this.#cut) socket.terminate();
  }

  send(...frames: object[]): void {
    const text = JSON.stringify(
      frames.length === 1 ? frames[0] : { type: 'BATCH', events: frames },
    );
    if (this.#socket) this.#socket.send(text);
    else this.#early.push(text);
  }

  /** After what was sent; called by a script, after the handshake. */
  cut(): void {
    this.#cut = true;
    this.#socket?.terminate();
  }
}

export const event = (id: number, more: object = {}) => ({
  id: String(id),
  type: 'T',
  data: { id },
  timestamp: 1,
  cursor: `c${id}`,
  ...more,
});

export const ready = (cursor = 'r', recovered = true) => ({ type: 'READY', cursor, recovered });
