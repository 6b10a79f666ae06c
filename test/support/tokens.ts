import { createHmac } from 'node:crypto';
import {
  exportJWK,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';

export const SECRET = 'a-secret-of-at-least-thirty-two-characters';

/** Claims that are let in: bob's, for an hour. */
export const good = () => ({ sub: 'bob', exp: Math.floor(Date.now() / 1000) + 3600 });

export function sign(claims: JWTPayload, secret = SECRET): Promise<string> {
  return new SignJWT({ ...good(), ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(secret));
}

export function base64(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString(
    'base64url',
  );
}

/** A token with any header and payload, signed with the shared secret whatever the header says. */
export function forge(header: object, payload: unknown, secret = SECRET): string {
  const signed = `${base64(header)}.${base64(payload)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const attackers = await generateKeyPair('RS256', { extractable: true });
export const attackersJwk = await exportJWK(attackers.publicKey);

/** Signed with a key that nobody has published. */
export function byAttacker(header: Partial<JWTHeaderParameters>): Promise<string> {
  return new SignJWT(good())
    .setProtectedHeader({ alg: 'RS256', ...header })
    .sign(attackers.privateKey);
}
