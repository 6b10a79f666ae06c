import { type Connection, infoText, MAX_INFO_BYTES } from '../connections/connection.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { MAX_CURSOR_LENGTH } from '../protocol/cursor.ts';
import { refusalIn, SUBPROTOCOL } from '../protocol/handshake.ts';
import { Authenticator, subprotocols } from './authenticate.ts';
import { connectionStore, deployed, logError, logWarning, withJwtSecret } from './deployed.ts';
import type { WebSocketAnswer, WebSocketEvent, WebSocketHandler } from './event.ts';
import { loadConnectSettings } from './settings.ts';
import { networkOf } from './source-network.ts';

/** A write costs a unit a kilobyte. */
const MAX_ALLOWED_BYTES = 16_000;
const MAX_ALLOWED = 1000;

/** For HS256 (RFC 7518, 3.2). */
const LEAST_SECRET_BYTES = 32;

/**
 * `$connect`: lets a client in whose token is good, and stores its connection. The upgrade stays
 * pending until it returns: the item is there before the client can say anything. Logs hold no
 * token, query or header.
 */
export function connectHandler(deps: ConnectDeps): WebSocketHandler {
  return async (event) => {
    const refuse = (status: number, reason: string) => refusalOf(event, status, reason, deps);
    try {
      const result = await deps.authenticator.authenticate(event);
      if (!result.allowed) {
        const { connectionId } = event.requestContext;
        if (result.status === 500)
          logError({ event: 'connect_failed', connectionId, error: result.reason });
        return refuse(result.status, result.reason);
      }
      const { userId, rooms, roles, allowed, wanted, info, expiresAt } = result.identity;
      const { connectionId, connectedAt } = event.requestContext;
      const { sourceIp } = event.requestContext.identity ?? {};
      const address =
        deps.connectionsPerAddress && sourceIp ? { address: networkOf(sourceIp) } : {};
      const full = await fullOf(deps, { userId, ...address });
      if (full) return refuse(429, full);
      const { cursor, batch } = event.queryStringParameters ?? {};
      // The clock tolerance lets a token in that has just expired; the relay would count its
      // connection as gone.
      if (expiresAt !== undefined && expiresAt * 1000 <= Date.now())
        return refuse(401, 'the token has expired');
      const connection: Connection = {
        connectionId,
        userId,
        connectedAt,
        ttl: Math.min(
          Math.floor(connectedAt / 1000) + deps.connectionTtlSeconds,
          expiresAt ?? Number.POSITIVE_INFINITY,
        ),
        rooms,
        roles,
        ...(isSmall(allowed) ? { allowed } : {}),
        // The relay tells the client which of them it may not have.
        ...(wanted ? { wanted: wanted.join() } : {}),
        ...infoFor(info),
        ...address,
        // A longer one is not ours, and its truncated rest does not parse either: the
        // client hears `recovered: false`.
        ...(cursor ? { cursor: cursor.slice(0, MAX_CURSOR_LENGTH) } : {}),
        batch: batch === '1' || batch === 'true',
      };
      await deps.store.put(connection);
      return subprotocols(event).includes(SUBPROTOCOL)
        ? { statusCode: 200, headers: { 'Sec-WebSocket-Protocol': SUBPROTOCOL } }
        : { statusCode: 200 };
    } catch (error) {
      logError({
        event: 'connect_failed',
        connectionId: event.requestContext.connectionId,
        error: errorText(error),
      });
      return refuse(500, 'the connection could not be stored');
    }
  };
}

/** A token may name thousands of rooms; its client may have those that it names as it connects. */
function isSmall(allowed: readonly string[]): boolean {
  if (allowed.length <= MAX_ALLOWED && Buffer.byteLength(allowed.join()) <= MAX_ALLOWED_BYTES)
    return true;
  logWarning({
    event: 'rooms_claim_large',
    message: `a token names more than ${MAX_ALLOWED} rooms, or ${MAX_ALLOWED_BYTES} bytes of them: its client can join none on the open socket; use patterns, such as team-*`,
  });
  return false;
}

/** A user without it is better than none. */
function infoFor(claim: unknown): { readonly info?: string } {
  const info = infoText(claim);
  if (info !== undefined) return { info };
  if (claim !== undefined)
    logWarning({
      event: 'presence_claim_refused',
      message: `what a token says for JWT_PRESENCE_CLAIM has more than ${MAX_INFO_BYTES} bytes of JSON, or a NUL: others see the user without it`,
    });
  return {};
}

/** Says which limit is reached; null where none is. */
async function fullOf(
  { store, connectionsPerUser, connectionsPerAddress }: ConnectDeps,
  { userId, address }: { userId: string; address?: string },
): Promise<string | null> {
  const limits = [
    ['user', 'userId', userId, connectionsPerUser],
    ['address', 'address', address, connectionsPerAddress],
  ] as const;
  for (const [who, attribute, value, limit] of limits) {
    if (value === undefined || limit === undefined) continue;
    if ((await store.countOf(attribute, value, limit)) >= limit)
      return `the ${who} has ${limit} connections, as many as are allowed`;
  }
  return null;
}

export interface ConnectDeps {
  readonly authenticator: Authenticator;
  readonly store: ConnectionStore;
  readonly connectionTtlSeconds: number;
  /** A user who has so many is refused; no limit without it. */
  readonly connectionsPerUser?: number;
  /** The same, of an address. */
  readonly connectionsPerAddress?: number;
  /** Lets clients in that ask why they are refused; not without it. */
  readonly explainsRefusals?: boolean;
}

/**
 * Where it may explain itself it lets in whoever asks for that: without an item nothing is sent
 * there, and the client closes it.
 */
function refusalOf(
  event: WebSocketEvent,
  statusCode: number,
  body: string,
  { explainsRefusals }: ConnectDeps,
): WebSocketAnswer {
  const explanation = subprotocols(event).find((each) => refusalIn(each) === String(statusCode));
  return explainsRefusals && explanation
    ? { statusCode: 200, headers: { 'Sec-WebSocket-Protocol': explanation } }
    : { statusCode, body, headers: { 'content-type': 'text/plain' } };
}

export const handler: WebSocketHandler = deployed(async (env) => {
  const { auth, table, ...limits } = loadConnectSettings(await withJwtSecret(env));
  if (auth.mode === 'jwt' && 'secret' in auth.key && auth.key.secret.length < LEAST_SECRET_BYTES)
    logWarning({
      event: 'weak_secret',
      message: `JWT_SECRET is shorter than ${LEAST_SECRET_BYTES} bytes: it can be guessed`,
    });
  return connectHandler({
    authenticator: new Authenticator(auth, (claim) =>
      logWarning({
        event: 'claim_missing',
        claim,
        message:
          'a token has no such claim: set JWT_ROLES_CLAIM or JWT_ROOMS_CLAIM to the one that your tokens have',
      }),
    ),
    store: connectionStore(table),
    ...limits,
  });
});
