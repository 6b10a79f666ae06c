import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { WebSocketEvent } from './event.ts';
import type { AuthSettings } from './settings.ts';

/** The subprotocol of Rowcast's own; a client that sends its token as a second one gets this one answered. */
export const SUBPROTOCOL = 'rowcast';

/** Clocks of the issuer and of Lambda may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** Pinned by the kind of key: a public key must never be taken for a shared secret, nor `none` for a signature. */
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'];
const JWKS_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

const MAX_USER_ID_LENGTH = 256;
const MAX_ROOMS = 100;
const MAX_ROOM_LENGTH = 128;

export type Authentication =
  | { readonly allowed: true; readonly identity: Identity }
  | { readonly allowed: false; readonly status: 401 | 403 | 500; readonly reason: string };

export interface Identity {
  readonly userId: string;
  readonly rooms: readonly string[];
  readonly roles: readonly string[];
  /** Epoch seconds of the token's end. */
  readonly expiresAt?: number;
}

/** Who connects, and with which rooms and roles. The reason never holds a token or a part of one. */
export class Authenticator {
  readonly #settings: AuthSettings;
  /** Fetched when first needed, kept, and fetched again when a token names a key that is not among them. */
  readonly #jwks: JWTVerifyGetKey | undefined;

  constructor(settings: AuthSettings) {
    this.#settings = settings;
    if (settings.mode === 'jwt' && 'jwksUrl' in settings.key) this.#jwks = createRemoteJWKSet(settings.key.jwksUrl);
  }

  async authenticate(event: WebSocketEvent): Promise<Authentication> {
    const query = event.queryStringParameters ?? {};
    const asked = list(query.rooms);
    const tooMuch = limitExceeded(asked);
    if (tooMuch) return { allowed: false, status: 403, reason: tooMuch };
    if (this.#settings.mode === 'none') {
      return {
        allowed: true,
        identity: { userId: query.userId || 'anonymous', rooms: asked, roles: list(query.roles) },
      };
    }
    const token = query.token || tokenSubprotocol(event);
    if (!token)
      return {
        allowed: false,
        status: 401,
        reason: 'no token; pass ?token= or the subprotocols "rowcast" and the token',
      };
    try {
      return this.#identify(await this.#verify(token), asked);
    } catch (error) {
      return refusal(error);
    }
  }

  async #verify(token: string): Promise<JWTPayload> {
    if (this.#settings.mode !== 'jwt') throw new Error('unreachable');
    const { key, issuer, audience } = this.#settings;
    const options = {
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      ...(issuer ? { issuer } : {}),
      ...(audience ? { audience } : {}),
    };
    const { payload } =
      'secret' in key
        ? await jwtVerify(token, key.secret, { ...options, algorithms: SECRET_ALGORITHMS })
        : await jwtVerify(token, this.#jwks as JWTVerifyGetKey, { ...options, algorithms: JWKS_ALGORITHMS });
    return payload;
  }

  #identify(claims: JWTPayload, asked: readonly string[]): Authentication {
    if (this.#settings.mode !== 'jwt') throw new Error('unreachable');
    const { sub, exp } = claims;
    if (typeof sub !== 'string' || sub === '' || sub.length > MAX_USER_ID_LENGTH) {
      return {
        allowed: false,
        status: 401,
        reason: `the token's sub is not a user id of 1 to ${MAX_USER_ID_LENGTH} characters`,
      };
    }
    const allowed = strings(claims[this.#settings.roomsClaim]);
    const refused = asked.find((room) => !allowed.some((pattern) => matches(pattern, room)));
    if (refused !== undefined)
      return { allowed: false, status: 403, reason: `the token does not allow room ${JSON.stringify(refused)}` };
    const roles = strings(claims[this.#settings.rolesClaim]);
    return {
      allowed: true,
      identity: { userId: sub, rooms: asked, roles, ...(exp === undefined ? {} : { expiresAt: exp }) },
    };
  }
}

/** Errors of jose are about the token, but for those about fetching the keys. Anything else is ours: never let in. */
function refusal(error: unknown): Authentication {
  if (error instanceof errors.JWTExpired) return { allowed: false, status: 401, reason: 'the token has expired' };
  const outage =
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    (error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC');
  if (error instanceof errors.JOSEError && !outage)
    return { allowed: false, status: 401, reason: `the token is not valid (${error.code})` };
  return { allowed: false, status: 500, reason: 'the keys that tokens are checked with cannot be fetched' };
}

/** `rowcast, <token>` as a browser sends it for `new WebSocket(url, ['rowcast', token])`. */
function tokenSubprotocol(event: WebSocketEvent): string | undefined {
  const offered = subprotocols(event);
  return offered.includes(SUBPROTOCOL) ? offered.find((protocol) => protocol !== SUBPROTOCOL) : undefined;
}

/** The subprotocols the client offers, in its order (RFC 6455, 4.1). Header names come as the client wrote them. */
export function subprotocols(event: WebSocketEvent): string[] {
  const header = Object.entries(event.headers ?? {}).find(
    ([name]) => name.toLowerCase() === 'sec-websocket-protocol',
  )?.[1];
  return list(header);
}

function limitExceeded(rooms: readonly string[]): string | undefined {
  if (rooms.length > MAX_ROOMS) return `at most ${MAX_ROOMS} rooms a connection; open a second one`;
  const long = rooms.find((room) => room.length > MAX_ROOM_LENGTH);
  return long === undefined
    ? undefined
    : `a room's name has at most ${MAX_ROOM_LENGTH} characters: ${JSON.stringify(long.slice(0, 40))}…`;
}

/** `team-*` allows every room that starts with `team-`. */
function matches(pattern: string, room: string): boolean {
  return pattern.endsWith('*') ? room.startsWith(pattern.slice(0, -1)) : pattern === room;
}

function list(text: string | undefined): string[] {
  return [
    ...new Set(
      (text ?? '')
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    ),
  ];
}

/** A claim that is a list, or one string of words (OAuth's `scope` is such a one). */
function strings(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(/[\s,]+/).filter((part) => part !== '');
  return Array.isArray(claim) ? claim.filter((entry) => typeof entry === 'string' && entry !== '') : [];
}
