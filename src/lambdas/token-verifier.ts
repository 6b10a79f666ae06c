import {
  createRemoteJWKSet,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
} from 'jose';
import type { Authentication } from './identity.ts';
import type { JwtSettings } from './settings.ts';

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
 * How long fetched keys are trusted before they are fetched again; a token with an unknown key
 * fetches them sooner, but not more often than that.
 */
const JWKS_CACHE = { cacheMaxAge: 600_000, cooldownDuration: 5000, timeoutDuration: 3000 };

/** An issuer that is down is asked again after this long, and not by each `$connect`. */
const OUTAGE_MS = 5000;

/** Checks tokens by a shared secret, or by keys that are fetched from a JWKS. */
export class TokenVerifier {
  readonly #settings: JwtSettings;
  /** Fetched when first needed, kept, and fetched again when a token names an unknown key. */
  readonly #jwks: JWTVerifyGetKey | undefined;
  /** The last fetch of keys failed; epoch ms. */
  #failed: { readonly atMs: number; readonly error: unknown } | undefined;

  constructor(settings: JwtSettings) {
    this.#settings = settings;
    if ('jwksUrl' in settings.key)
      this.#jwks = this.#asksRarely(createRemoteJWKSet(settings.key.jwksUrl, JWKS_CACHE));
  }

  #asksRarely(fetched: JWTVerifyGetKey): JWTVerifyGetKey {
    return async (header, token) => {
      if (this.#failed && Date.now() - this.#failed.atMs < OUTAGE_MS) throw this.#failed.error;
      try {
        const key = await fetched(header, token);
        this.#failed = undefined;
        return key;
      } catch (error) {
        if (isOutage(error)) this.#failed = { atMs: Date.now(), error };
        throw error;
      }
    };
  }

  /** @returns the token's claims. @throws errors of jose; see `refusal` */
  async verify(token: string): Promise<JWTPayload> {
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
}

/**
 * A claim by its name, which may hold dots (https://example.com/roles), or by its path
 * (realm_access.roles).
 */
export function claimOf(claims: JWTPayload, name: string): unknown {
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

/**
 * Errors of jose are about the token, but for those about fetching the keys. Anything else is ours:
 * never let in.
 */
export function refusal(error: unknown): Authentication {
  if (error instanceof errors.JWTExpired)
    return { allowed: false, status: 401, reason: 'the token has expired' };
  if (error instanceof errors.JWTClaimValidationFailed)
    return {
      allowed: false,
      status: 401,
      reason: `the token is not valid: its claim ${error.claim} is ${error.reason === 'missing' ? 'missing' : 'not what is expected here'}`,
    };
  if (error instanceof errors.JOSEError && !isOutage(error))
    return { allowed: false, status: 401, reason: `the token is not valid (${error.code})` };
  return {
    allowed: false,
    status: 500,
    reason: 'the keys that tokens are checked with cannot be fetched',
  };
}

/** The keys cannot be fetched: errors of jose's, and of the network's. */
function isOutage(error: unknown): boolean {
  return (
    !(error instanceof errors.JOSEError) ||
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    error.code === 'ERR_JOSE_GENERIC'
  );
}
