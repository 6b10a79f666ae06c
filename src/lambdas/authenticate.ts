import {
  createRemoteJWKSet,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
} from 'jose';
import { SUBPROTOCOL } from '../protocol/handshake.ts';
import type { WebSocketEvent } from './event.ts';
import type { AuthSettings } from './settings.ts';

/** Clocks of the issuer and of Lambda may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 5;

/**
 * Pinned by the kind of key: a public key must never be taken for a shared secret, nor `none` for a
 * signature.
 */
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'];
const JWKS_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

/** Uses of Amazon Cognito's tokens that are taken; other tokens have no such claim. */
const COGNITO_USES: readonly unknown[] = [undefined, 'access', 'id'];

/**
 * In UTF-8, so that a term of the log (rowcast.max_term_bytes()) can name every user, room and
 * role. A hundred rooms and roles of this length are 26 kB of an item's 400 kB.
 */
const MAX_USER_ID_BYTES = 256;
const MAX_NAMES = 100;
const MAX_NAME_BYTES = 128;

/**
 * How long fetched keys are trusted before they are fetched again; a token with an unknown key
 * fetches them sooner, but not more often than that.
 */
const JWKS_CACHE = { cacheMaxAge: 600_000, cooldownDuration: 5000, timeoutDuration: 3000 };

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

/**
 * Who connects, and with which rooms and roles. The reason never holds a token or a part of one.
 */
export class Authenticator {
  readonly #settings: AuthSettings;
  /**
   * Fetched when first needed, kept, and fetched again when a token names a key that is not among
   * them.
   */
  readonly #jwks: JWTVerifyGetKey | undefined;
  readonly #missing: (claim: string) => void;
  readonly #missed = new Set<string>();

  /**
   * @param missing is called once for a claim that a token does not have: with a name that no token
   * has, everybody would come without roles
   */
  constructor(settings: AuthSettings, missing: (claim: string) => void = () => undefined) {
    this.#settings = settings;
    this.#missing = missing;
    if (settings.mode === 'jwt' && 'jwksUrl' in settings.key)
      this.#jwks = createRemoteJWKSet(settings.key.jwksUrl, JWKS_CACHE);
  }

  async authenticate(event: WebSocketEvent): Promise<Authentication> {
    const query = event.queryStringParameters ?? {};
    const rooms = list(query.rooms);
    if (this.#settings.mode === 'none')
      return withinLimits({ userId: query.userId || 'anonymous', rooms, roles: list(query.roles) });
    const token = query.token || tokenSubprotocol(event);
    if (!token)
      return {
        allowed: false,
        status: 401,
        reason: 'no token; pass ?token= or the subprotocols "rowcast" and the token',
      };
    try {
      return this.#identify(await this.#verify(token), rooms);
    } catch (error) {
      return refusal(error);
    }
  }

  async #verify(token: string): Promise<JWTPayload> {
    if (this.#settings.mode !== 'jwt') throw new Error('unreachable');
    const { key, issuer, audience } = this.#settings;
    const options = { clockTolerance: CLOCK_TOLERANCE_SECONDS, ...(issuer ? { issuer } : {}) };
    const { payload } =
      'secret' in key
        ? await jwtVerify(token, key.secret, { ...options, algorithms: SECRET_ALGORITHMS })
        : await verifyByAny(token, this.#jwks as JWTVerifyGetKey, {
            ...options,
            algorithms: JWKS_ALGORITHMS,
          });
    if (audience) checkAudience(payload, audience);
    if (!COGNITO_USES.includes(payload.token_use)) throw claimRefused(payload, 'token_use');
    return payload;
  }

  #identify(claims: JWTPayload, rooms: readonly string[]): Authentication {
    if (this.#settings.mode !== 'jwt') throw new Error('unreachable');
    const { sub, exp } = claims;
    if (typeof sub !== 'string' || sub === '')
      return { allowed: false, status: 401, reason: "the token's sub is not a user id" };
    const allowed = rooms.length > 0 ? strings(this.#claim(claims, this.#settings.roomsClaim)) : [];
    const refused = rooms.find((room) => !allowed.some((pattern) => matches(pattern, room)));
    if (refused !== undefined)
      return {
        allowed: false,
        status: 403,
        reason: `the token does not allow room ${shown(refused)}`,
      };
    const roles = strings(this.#claim(claims, this.#settings.rolesClaim));
    return withinLimits({
      userId: sub,
      rooms,
      roles,
      ...(exp === undefined ? {} : { expiresAt: Math.floor(exp) }),
    });
  }

  #claim(claims: JWTPayload, name: string): unknown {
    const value = claimOf(claims, name);
    if (value === undefined && !this.#missed.has(name)) {
      this.#missed.add(name);
      this.#missing(name);
    }
    return value;
  }
}

/**
 * A claim by its name, which may hold dots (https://example.com/roles), or by its path
 * (realm_access.roles).
 */
function claimOf(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name
    .split('.')
    .reduce<unknown>(
      (value, key) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, key)
          ? (value as Record<string, unknown>)[key]
          : undefined,
      claims,
    );
}

/** A token without `kid` may be of any of the keys that fit its algorithm. */
async function verifyByAny(
  token: string,
  keys: JWTVerifyGetKey,
  options: JWTVerifyOptions,
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, keys, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      try {
        return await jwtVerify(token, key, options);
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** Access tokens of Amazon Cognito have `client_id` in the place of `aud`. */
function checkAudience(claims: JWTPayload, audience: string): void {
  const meant = claims.aud ?? claims.client_id;
  if (!(Array.isArray(meant) ? meant : [meant]).includes(audience))
    throw claimRefused(claims, 'aud');
}

function claimRefused(claims: JWTPayload, claim: string): Error {
  return new errors.JWTClaimValidationFailed(
    `unexpected "${claim}" claim value`,
    claims,
    claim,
    'check_failed',
  );
}

/** Refuses what the table cannot hold or a term of the log cannot name. */
function withinLimits(identity: Identity): Authentication {
  const { userId, rooms, roles } = identity;
  const refuse = (reason: string): Authentication => ({ allowed: false, status: 403, reason });
  if (Buffer.byteLength(userId) > MAX_USER_ID_BYTES || BROKEN_TEXT.test(userId))
    return refuse(`a user id is text of at most ${MAX_USER_ID_BYTES} bytes: ${shown(userId)}`);
  for (const [kind, names] of [['room', rooms] as const, ['role', roles] as const]) {
    if (names.length > MAX_NAMES)
      return refuse(`${names.length} ${kind}s; a connection has at most ${MAX_NAMES}`);
    const wrong = names.find(
      (name) => Buffer.byteLength(name) > MAX_NAME_BYTES || BROKEN_TEXT.test(name),
    );
    if (wrong !== undefined)
      return refuse(
        `the name of a ${kind} is text of at most ${MAX_NAME_BYTES} bytes: ${shown(wrong)}`,
      );
  }
  return { allowed: true, identity };
}

/** Half a surrogate pair, which JSON can hold and UTF-8 cannot. */
const BROKEN_TEXT = /\p{Surrogate}/u;

function shown(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}

/**
 * Errors of jose are about the token, but for those about fetching the keys. Anything else is ours:
 * never let in.
 */
function refusal(error: unknown): Authentication {
  if (error instanceof errors.JWTExpired)
    return { allowed: false, status: 401, reason: 'the token has expired' };
  if (error instanceof errors.JWTClaimValidationFailed)
    return {
      allowed: false,
      status: 401,
      reason: `the token is not valid: its claim ${error.claim} is ${error.reason === 'missing' ? 'missing' : 'not what is expected here'}`,
    };
  const outage =
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    (error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC');
  if (error instanceof errors.JOSEError && !outage)
    return { allowed: false, status: 401, reason: `the token is not valid (${error.code})` };
  return {
    allowed: false,
    status: 500,
    reason: 'the keys that tokens are checked with cannot be fetched',
  };
}

/** Three parts, of which the first begins with `{"`. */
const JWT = /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/;

/**
 * `rowcast, <token>` as a browser sends it for `new WebSocket(url, ['rowcast', token])`; other
 * protocols may be among them.
 */
function tokenSubprotocol(event: WebSocketEvent): string | undefined {
  const offered = subprotocols(event);
  if (!offered.includes(SUBPROTOCOL)) return undefined;
  const others = offered.filter((protocol) => protocol !== SUBPROTOCOL);
  return others.find((protocol) => JWT.test(protocol)) ?? others[0];
}

/**
 * The subprotocols the client offers, in its order (RFC 6455, 4.1). Header names come as the client
 * wrote them.
 */
export function subprotocols(event: WebSocketEvent): string[] {
  const header = Object.entries(event.headers ?? {}).find(
    ([name]) => name.toLowerCase() === 'sec-websocket-protocol',
  )?.[1];
  return list(header);
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
  return Array.isArray(claim)
    ? claim.filter((entry) => typeof entry === 'string' && entry !== '')
    : [];
}
