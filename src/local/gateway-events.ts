import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { WebSocketEvent } from '../lambdas/event.ts';
import type { GatewayConnection } from './gateway-connection.ts';

/** The event of `$connect`, with every field that API Gateway fills. */
export function connectEvent(
  connection: GatewayConnection,
  stage: string,
  request: IncomingMessage,
  url: URL,
): WebSocketEvent {
  const headers: Record<string, string> = {};
  const multiValueHeaders: Record<string, string[]> = {};
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string;
    const value = request.rawHeaders[i + 1] as string;
    // API Gateway keeps the last of two equal headers here, and both in multiValueHeaders.
    headers[name] = value;
    multiValueHeaders[name] = [...(multiValueHeaders[name] ?? []), value];
  }
  const query = [...new Set(url.searchParams.keys())];
  return {
    headers,
    multiValueHeaders,
    ...(query.length > 0
      ? {
          queryStringParameters: Object.fromEntries(
            query.map((name) => [name, url.searchParams.getAll(name).at(-1)]),
          ),
          multiValueQueryStringParameters: Object.fromEntries(
            query.map((name) => [name, url.searchParams.getAll(name)]),
          ),
        }
      : {}),
    requestContext: context(connection, stage, '$connect', 'CONNECT'),
    isBase64Encoded: false,
  } as WebSocketEvent;
}

/** The event of `$disconnect`: it carries neither query nor the client's headers. */
export function disconnectEvent(
  connection: GatewayConnection,
  stage: string,
  code: number,
  reason: string,
): WebSocketEvent {
  return {
    headers: { Host: '127.0.0.1', 'x-api-key': '', 'x-restapi': '' },
    multiValueHeaders: { Host: ['127.0.0.1'] },
    requestContext: {
      ...context(connection, stage, '$disconnect', 'DISCONNECT'),
      disconnectStatusCode: code,
      disconnectReason: reason,
    },
    isBase64Encoded: false,
  } as WebSocketEvent;
}

function context(
  connection: GatewayConnection,
  stage: string,
  routeKey: string,
  eventType: string,
) {
  const now = Date.now();
  return {
    routeKey,
    eventType,
    extendedRequestId: randomUUID(),
    requestTime: new Date(now).toUTCString(),
    messageDirection: 'IN',
    stage,
    connectedAt: connection.connectedAt,
    requestTimeEpoch: now,
    identity: { sourceIp: connection.sourceIp, userAgent: connection.userAgent },
    requestId: randomUUID(),
    domainName: '127.0.0.1',
    connectionId: connection.id,
    apiId: 'local',
  };
}
