import type { JWTPayload } from 'jose';
import { namesIn } from '../connections/names.ts';
import { type AllowedRooms, isAllowed, patternsOf, roomsIn } from '../connections/rooms.ts';
import { REFUSALS, SUBPROTOCOL } from '../protocol/handshake.ts';
import type { WebSocketEvent } from './event.ts';
import { type Authentication, shown, withinLimits } from './identity.ts';
import type { AuthSettings, JwtSettings } from './settings.ts';
import { claimOf, refusal, TokenVerifier } from './token-verifier.ts';

/** Who connects, and with which rooms and roles. A reason never holds a token or a part of one. */
export class Authenticator {
  readonly #tokens: JwtAuthenticator | null;

  /**
   * @param missing is called once for a claim that a token does not have: with a name that no token
   * has, everybody would come without roles
   */
  constructor(settings: AuthSettings, missing: (claim: string) => void = () => undefined) {
    this.#tokens = settings.mode === 'jwt' ? new JwtAuthenticator(settings, missing) : null;
  }

  async authenticate(event: WebSocketEvent): Promise<Authentication> {
    const query = event.queryStringParameters ?? {};
    const rooms = roomsIn(query.rooms ?? '');
    if (this.#tokens) return this.#tokens.authenticate(event, rooms);
    // AUTH_MODE=none: everybody is whom he says.
    return withinLimits({
      userId: query.userId || 'anonymous',
      rooms,
      roles: namesIn(query.roles ?? ''),
      allowed: ['*'],
      info: query.info,
    });
  }
}

class JwtAuthenticator {
  readonly #settings: JwtSettings;
  readonly #verifier: TokenVerifier;
  readonly #missing: (claim: string) => void;
  readonly #missed = new Set<string>();

  constructor(settings: JwtSettings, missing: (claim: string) => void) {
    this.#settings = settings;
    this.#verifier = new TokenVerifier(settings);
    this.#missing = missing;
  }

  async authenticate(event: WebSocketEvent, rooms: readonly string[]): Promise<Authentication> {
    const token = event.queryStringParameters?.token || tokenSubprotocol(event);
    if (!token)
      return {
        allowed: false,
        status: 401,
        reason: 'no token; pass ?token= or the subprotocols "rowcast" and the token',
      };
    try {
      const isStrict = ['1', 'true'].includes(event.queryStringParameters?.strict ?? '');
      return this.#identify(await this.#verifier.verify(token), rooms, isStrict);
    } catch (error) {
      return refusal(error);
    }
  }

  /** @param isStrict a room that the token does not allow costs the connection */
  #identify(claims: JWTPayload, wanted: readonly string[], isStrict: boolean): Authentication {
    const { sub, exp } = claims;
    const { presenceClaim } = this.#settings;
    if (typeof sub !== 'string' || sub === '')
      return { allowed: false, status: 401, reason: "the token's sub is not a user id" };
    const allowed = this.#allowedRooms(claims, wanted.length > 0);
    const refused = wanted.filter((room) => !isAllowed(room, allowed));
    if (isStrict && refused[0] !== undefined)
      return {
        allowed: false,
        status: 403,
        reason: `the token does not allow room ${shown(refused[0])}`,
      };
    const roles = this.#names(claims, this.#settings.rolesClaim);
    return withinLimits({
      userId: sub,
      rooms: wanted.filter((room) => !refused.includes(room)),
      roles,
      allowed: patternsOf(allowed),
      ...(refused.length > 0 ? { wanted } : {}),
      info: presenceClaim === undefined ? undefined : claimOf(claims, presenceClaim),
      ...(exp === undefined ? {} : { expiresAt: Math.floor(exp) }),
    });
  }

  /** @param isAsked a claim that is missing is worth a word */
  #allowedRooms(claims: JWTPayload, isAsked: boolean): AllowedRooms {
    const { roomsClaim, roomPatternsClaim } = this.#settings;
    const named = this.#names(claims, roomsClaim, isAsked);
    // A room that a user named `team-*` is no pattern where these have a claim of their own.
    return roomPatternsClaim
      ? { names: named, patterns: this.#names(claims, roomPatternsClaim, isAsked) }
      : { names: [], patterns: named };
  }

  /** In NFC, as the names that clients ask for. */
  #names(claims: JWTPayload, name: string, isAsked = true): string[] {
    return strings(this.#claim(claims, name, isAsked), name).map((entry) => entry.normalize('NFC'));
  }

  #claim(claims: JWTPayload, name: string, isAsked: boolean): unknown {
    const value = claimOf(claims, name);
    if (value === undefined && isAsked && !this.#missed.has(name)) {
      this.#missed.add(name);
      this.#missing(name);
    }
    return value;
  }
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
  const others = offered.filter((each) => each !== SUBPROTOCOL && !REFUSALS.includes(each));
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
  return namesIn(header ?? '');
}

/** OAuth's lists of words in one string (RFC 8693, 4.2). */
const WORDS = /(^|\.)(scope|scp)$/;

/** A claim that is a list, or one name. A name may hold spaces: only OAuth's are taken apart. */
function strings(claim: unknown, name: string): string[] {
  if (typeof claim === 'string')
    return (WORDS.test(name) ? claim.split(' ') : [claim]).filter((part) => part !== '');
  return Array.isArray(claim)
    ? claim.filter((entry) => typeof entry === 'string' && entry !== '')
    : [];
}
