import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { TableReader } from '../connections/scan-feed.ts';
import type { WebSocketAnswer, WebSocketHandler } from '../lambdas/event.ts';
import { PONG, unknownAction } from '../protocol/handshake.ts';
import { ROOMS_ACTION } from '../protocol/rooms-route.ts';
import { refusalOf } from '../request-guard.ts';
import type { Service } from '../service.ts';
import type { GatewayConnection } from './gateway-connection.ts';
import { connectEvent, disconnectEvent } from './gateway-events.ts';
import { answerManagement } from './gateway-management.ts';
import { runRoomsRoute } from './rooms-route.ts';

/**
 * A gateway on this machine that speaks API Gateway's WebSocket contract and runs the real Lambda
 * handlers:
 *
 * - an upgrade runs `$connect` with an event as API Gateway makes it, stays pending until that
 *   returns,
 *   and is refused with its status; before it returned, the connection answers 410 to posts
 * - POST, GET and DELETE /{stage}/@connections/{id} (gateway-management.ts)
 * - `{"action":"ping"}` is answered as the MOCK route does, and `{"action":"rooms"}` written to the
 *   table (rooms-route.ts)
 * - 32 KB frames, 128 KB messages, 10 minutes of idleness, 2 hours in all
 *
 * Signatures and IAM are not checked: only AWS can.
 */
export class LocalGateway extends EventEmitter<LocalGatewayEvents> implements Service {
  #starting: Promise<void> | undefined;
  #stopped = false;
  readonly connections = new Map<string, GatewayConnection>();
  readonly #options: LocalGatewayOptions;
  readonly #server: Server;
  /** Runs of `$disconnect` that are not over yet. */
  readonly #pending = new Set<Promise<void>>();
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: () => false,
  });
  #address = '';

  constructor(options: LocalGatewayOptions) {
    super();
    this.#options = options;
    this.#server = createServer(
      (request, response) =>
        void answerManagement(
          { stage: options.stage, connections: this.connections },
          request,
          response,
        ).catch(() => response.destroy()),
    );
    this.#server.on(
      'upgrade',
      (request, socket, head) =>
        void this.#upgrade(request, socket, head).catch(() => socket.destroy()),
    );
  }

  /** `ws://127.0.0.1:{port}/{stage}` */
  get websocketUrl(): string {
    return `ws://${this.#address}/${this.#options.stage}`;
  }

  /** The value for WEBSOCKET_ENDPOINT. */
  get managementUrl(): string {
    return `http://${this.#address}/${this.#options.stage}`;
  }

  /** @throws EADDRINUSE */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    if (this.#stopped) return;
    this.#server.listen(this.#options.port ?? 0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Closes every connection and runs their `$disconnect`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting?.catch(() => undefined);
    // Stops accepting first: clients come back within a second.
    const closed = new Promise((resolve) =>
      this.#server.listening ? this.#server.close(resolve) : resolve(null),
    );
    for (const { socket } of this.connections.values()) socket?.close(GOING_AWAY, 'Going away');
    const terminate = setTimeout(
      () => this.connections.forEach(({ socket }) => void socket?.terminate()),
      500,
    );
    await Promise.all(this.#pending);
    clearTimeout(terminate);
    this.#server.closeAllConnections();
    await closed;
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    const refusal = refusalOf(request.headers, 'local pages');
    if (refusal) return refuse(socket, { statusCode: 403, body: refusal });
    const url = new URL(request.url ?? '/', 'http://gateway.invalid');
    if (url.pathname.replace(/\/$/, '') !== `/${this.#options.stage}`)
      return refuse(socket, { statusCode: 403, body: '{"message":"Forbidden"}' });
    let over: () => void = () => undefined;
    const pending = new Promise<void>((resolve) => {
      over = resolve;
    });
    this.#pending.add(pending);
    void pending.then(() => this.#pending.delete(pending));
    const connection: GatewayConnection = {
      id: randomBytes(11).toString('base64'),
      connectedAt: Date.now(),
      lastActiveAt: Date.now(),
      sourceIp: request.socket.remoteAddress ?? '127.0.0.1',
      userAgent: request.headers['user-agent'] ?? '',
    };
    this.connections.set(connection.id, connection);
    const answer = await this.#run(
      this.#options.connect,
      connectEvent(connection, this.#options.stage, request, url),
    );
    if (answer.statusCode < 200 || answer.statusCode > 299 || socket.destroyed) {
      this.connections.delete(connection.id);
      if (answer.statusCode < 300)
        await this.#run(
          this.#options.disconnect,
          disconnectEvent(connection, this.#options.stage, ABNORMAL, ''),
        );
      over();
      return refuse(socket, answer);
    }
    this.#accept(connection, request, socket, head, answer, over);
  }

  #accept(
    connection: GatewayConnection,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    answer: WebSocketAnswer,
    over: () => void,
  ): void {
    // ws chooses the subprotocol itself; the handler did, and its answer is what API Gateway sends.
    const setHeaders = (headers: string[]) => {
      for (const [name, value] of Object.entries(answer.headers ?? {}))
        headers.push(`${name}: ${value}`);
    };
    // A handshake that ws refuses, or whose client has left, ends without its callback.
    socket.once('close', () => {
      if (connection.socket) return;
      this.connections.delete(connection.id);
      void this.#run(
        this.#options.disconnect,
        disconnectEvent(connection, this.#options.stage, ABNORMAL, ''),
      ).then(over);
    });
    this.#webSockets.once('headers', setHeaders);
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      connection.socket = webSocket;
      const limits = this.#enforceLimits(connection, webSocket);
      webSocket.on('error', () => undefined);
      webSocket.on('message', (data) => this.#receive(connection, webSocket, data));
      webSocket.on('close', (code, reason) => {
        limits.stop();
        this.connections.delete(connection.id);
        void this.#run(
          this.#options.disconnect,
          disconnectEvent(connection, this.#options.stage, code, reason.toString()),
        ).then(() => {
          this.emit('disconnected', connection);
          over();
        });
      });
      this.emit('connected', connection);
    });
    // It answers at once or not at all; what it did not use is not for the next one.
    this.#webSockets.off('headers', setHeaders);
  }

  /** The routes of deploy/: `rooms`, and `ping` and `$default`, both MOCKs. */
  #receive(connection: GatewayConnection, socket: WebSocket, data: RawData): void {
    connection.lastActiveAt = Date.now();
    let body: { readonly action?: unknown } | null;
    try {
      body = JSON.parse(data.toString());
    } catch {
      body = null;
    }
    const connectionId = connection.id;
    const requestId = randomBytes(8).toString('hex');
    const { table } = this.#options;
    if (body?.action === ROOMS_ACTION && table) {
      const context = { connectionId, requestId, requestTimeEpoch: Date.now() };
      void runRoomsRoute(table, body, context).then((answer) => {
        if (answer) socket.send(answer);
        else this.emit('asked', connection);
      });
    } else socket.send(body?.action === 'ping' ? PONG : unknownAction(connectionId, requestId));
  }

  #enforceLimits(connection: GatewayConnection, socket: WebSocket): { stop(): void } {
    const { idleTimeoutMs = 600_000, maxDurationMs = 7_200_000 } = this.#options;
    const duration = setTimeout(() => socket.close(GOING_AWAY, 'Going away'), maxDurationMs);
    const idle = setInterval(
      () => {
        if (Date.now() - connection.lastActiveAt >= idleTimeoutMs)
          socket.close(GOING_AWAY, 'Going away');
      },
      Math.max(10, Math.min(1000, idleTimeoutMs / 4)),
    );
    return {
      stop() {
        clearTimeout(duration);
        clearInterval(idle);
      },
    };
  }

  /** A Lambda that throws is a 500 to the client, and never an exception here. */
  async #run(
    handler: WebSocketHandler,
    event: Parameters<WebSocketHandler>[0],
  ): Promise<WebSocketAnswer> {
    try {
      return await handler(event);
    } catch (error) {
      this.emit('lambdaFailed', error);
      return { statusCode: 500, body: '{"message":"Internal server error"}' };
    }
  }
}

const MAX_MESSAGE_BYTES = 131_072;
const GOING_AWAY = 1001;
const ABNORMAL = 1006;

function refuse(socket: Duplex, { statusCode, body = '', headers = {} }: WebSocketAnswer): void {
  const lines = Object.entries({
    'content-length': Buffer.byteLength(body),
    connection: 'close',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`);
  socket.end(
    `HTTP/1.1 ${statusCode} ${STATUS_TEXT[statusCode] ?? 'Refused'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`,
  );
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  500: 'Internal Server Error',
};

export interface LocalGatewayEvents {
  connected: [GatewayConnection];
  /** The route `rooms` has written what it wants. */
  asked: [GatewayConnection];
  /** `$disconnect` has run. */
  disconnected: [GatewayConnection];
  lambdaFailed: [unknown];
}

export interface LocalGatewayOptions {
  readonly stage: string;
  readonly connect: WebSocketHandler;
  readonly disconnect: WebSocketHandler;
  /** Where the route `rooms` writes; without it there is none. */
  readonly table?: TableReader;
  /** A free one without it. */
  readonly port?: number;
  readonly idleTimeoutMs?: number;
  readonly maxDurationMs?: number;
}
