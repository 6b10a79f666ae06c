import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { WebSocket } from 'ws';
import { refusalOf } from '../request-guard.ts';
import type { GatewayConnection } from './gateway-connection.ts';

const MAX_MESSAGE_BYTES = 131_072;
const MAX_FRAME_BYTES = 32_768;

/** Close code of a connection ended by DELETE. */
const NORMAL = 1000;

/**
 * The callback API: POST, GET and DELETE /{stage}/@connections/{id}, with AWS's status codes, error
 * bodies and the header by which the SDK names errors
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html).
 */
export async function answerManagement(
  gateway: { stage: string; connections: ReadonlyMap<string, GatewayConnection> },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (refusalOf(request.headers, 'programs'))
    return answerError(response, 403, 'ForbiddenException', { message: 'Forbidden' });
  const match = /^\/([^/]+)\/@connections\/(.*)$/.exec((request.url ?? '').split('?')[0] as string);
  if (!match || match[1] !== gateway.stage)
    return answerError(response, 403, 'ForbiddenException', { message: 'Forbidden' });
  const id = decode(match[2] as string);
  if (!id)
    return answerError(response, 400, 'BadRequestException', { message: 'Invalid connectionId' });
  const connection = gateway.connections.get(id);
  const socket = connection?.socket;
  if (!connection || !socket || socket.readyState !== socket.OPEN) {
    request.resume();
    return answerError(response, 410, 'GoneException', {});
  }
  switch (request.method) {
    case 'POST':
      return post(connection, socket, request, response);
    case 'GET':
      return answer(response, 200, {
        connectedAt: new Date(connection.connectedAt).toISOString(),
        lastActiveAt: new Date(connection.lastActiveAt).toISOString(),
        identity: { sourceIp: connection.sourceIp, userAgent: connection.userAgent },
      });
    case 'DELETE':
      socket.close(NORMAL, 'Connection closed by the server');
      return answer(response, 204);
    default:
      return answerError(response, 403, 'ForbiddenException', { message: 'Forbidden' });
  }
}

async function post(
  connection: GatewayConnection,
  socket: WebSocket,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (body.length > MAX_MESSAGE_BYTES) {
    return answerError(response, 413, 'PayloadTooLargeException', {
      message: 'Message too long',
      connectionId: connection.id,
      requestId: randomUUID(),
    });
  }
  connection.lastActiveAt = Date.now();
  // One text message, in frames of at most 32 KB.
  for (let start = 0; start === 0 || start < body.length; start += MAX_FRAME_BYTES) {
    const end = start + MAX_FRAME_BYTES;
    socket.send(body.subarray(start, end), { binary: false, fin: end >= body.length });
  }
  answer(response, 200, {});
}

function answer(response: ServerResponse, status: number, body?: unknown): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-amzn-requestid': randomUUID(),
  });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

function answerError(response: ServerResponse, status: number, type: string, body: unknown): void {
  response.setHeader('x-amzn-errortype', type);
  answer(response, status, body);
}

/** Null for an empty id and for bad percent-encoding. */
function decode(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded) || null;
  } catch {
    return null;
  }
}
