import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { startConnect } from '../support/handlers.ts';
import { attackersJwk, base64, byAttacker, forge, good, SECRET } from '../support/tokens.ts';

const { handler, event, stored } = await startConnect();
afterEach(() => void vi.useRealTimers());

/** Counts who asks it for keys. */
async function keyServer(answer: () => KeyAnswer) {
  let requests = 0;
  const server = createServer((_, response) => {
    requests++;
    const answered = answer();
    if (answered !== 'hang') response.writeHead(answered.status ?? 200).end(answered.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, requests: () => requests };
}

type KeyAnswer = { readonly status?: number; readonly body: string } | 'hang';

const pairs = await Promise.all([1, 2].map(() => generateKeyPair('RS256', { extractable: true })));
const jwks = await Promise.all(
  pairs.map(async ({ publicKey }, n) => ({ ...(await exportJWK(publicKey)), kid: `k${n}`, alg: 'RS256' })),
);
const tokenOf = (n: number, claims: JWTPayload = {}) =>
  new SignJWT({ ...good(), ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: `k${n}` })
    .sign((pairs[n] as (typeof pairs)[0]).privateKey);
const published = (...n: number[]) => ({ body: JSON.stringify({ keys: n.map((each) => jwks[each]) }) });

test('a token of a published key is let in, with the roles of the claim that is named', async () => {
  const server = await keyServer(() => published(0));
  const connect = handler({ JWKS_URL: server.url, JWT_ROLES_CLAIM: 'cognito:groups' });
  const request = event({ token: await tokenOf(0, { 'cognito:groups': ['staff'] }) });
  expect((await connect(request)).statusCode).toBe(200);
  expect(await stored(request)).toMatchObject({ roles: new Set(['staff']) });
});

test('a public key, in whatever form, is not taken for a shared secret', async () => {
  const server = await keyServer(() => published(0));
  const connect = handler({ JWKS_URL: server.url });
  const { publicKey } = pairs[0] as (typeof pairs)[0];
  const spki = await exportSPKI(publicKey);
  const pkcs1 = createPublicKey(spki).export({ type: 'pkcs1', format: 'pem' }).toString();
  for (const secret of [spki, spki.trim(), pkcs1, JSON.stringify(jwks[0]), String(jwks[0]?.n)]) {
    const forged = forge({ alg: 'HS256', kid: 'k0' }, good(), secret);
    expect((await connect(event({ token: forged }))).statusCode).toBe(401);
  }
  expect((await connect(event({ token: await tokenOf(0) }))).statusCode).toBe(200);
});

test('keys that the token itself brings or points to are not used, nor fetched', async () => {
  const server = await keyServer(() => published(0));
  const theirs = await keyServer(() => ({
    body: JSON.stringify({ keys: [{ ...attackersJwk, kid: 'k0', alg: 'RS256' }] }),
  }));
  const connect = handler({ JWKS_URL: server.url });
  for (const header of [
    { jwk: attackersJwk },
    { jku: theirs.url, kid: 'k0' },
    { x5u: theirs.url, kid: 'k0' },
    { kid: '../../../dev/null' },
    { kid: "k0' or '1'='1" },
    {},
  ])
    expect((await connect(event({ token: await byAttacker(header) }))).statusCode).toBe(401);
  expect(theirs.requests()).toBe(0);
});

test('a key of another algorithm, or a symmetric one among the keys, lets nobody in', async () => {
  const symmetric = { kty: 'oct', kid: 'k0', k: base64(SECRET), alg: 'HS256' };
  const server = await keyServer(() => ({ body: JSON.stringify({ keys: [symmetric] }) }));
  const connect = handler({ JWKS_URL: server.url });
  expect((await connect(event({ token: forge({ alg: 'HS256', kid: 'k0' }, good()) }))).statusCode).toBe(401);
  expect((await connect(event({ token: await tokenOf(0) }))).statusCode).toBe(401);
});

test('keys are fetched once, again when a new one is used, and a withdrawn one ends', async () => {
  const valid = { keys: [0] };
  const server = await keyServer(() => published(...valid.keys));
  const connect = handler({ JWKS_URL: server.url });
  const [oldToken, newToken] = await Promise.all([tokenOf(0), tokenOf(1)]);
  for (let n = 0; n < 5; n++) expect((await connect(event({ token: oldToken }))).statusCode).toBe(200);
  expect(server.requests()).toBe(1);

  valid.keys = [1];
  // Within seconds of a fetch, unknown keys cause no other: nobody can make this hammer the issuer.
  for (let n = 0; n < 5; n++) expect((await connect(event({ token: newToken }))).statusCode).toBe(401);
  expect(server.requests()).toBe(1);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 6000 });
  expect((await connect(event({ token: newToken }))).statusCode).toBe(200);
  expect(server.requests()).toBe(2);
  expect((await connect(event({ token: oldToken }))).statusCode).toBe(401);
});

test('an outage of the issuer lets nobody in that the kept keys do not, and the kept keys not for ever', async () => {
  const state: { answer: KeyAnswer } = { answer: published(0) };
  const server = await keyServer(() => state.answer);
  const connect = handler({ JWKS_URL: server.url });
  const token = await tokenOf(0);
  expect((await connect(event({ token }))).statusCode).toBe(200);
  for (const answer of [
    { status: 500, body: '' },
    { body: '<html>' },
    { body: '{"keys":7}' },
    { status: 302, body: '' },
  ]) {
    state.answer = answer;
    expect((await handler({ JWKS_URL: server.url })(event({ token }))).statusCode).toBe(500);
  }
  expect((await connect(event({ token }))).statusCode).toBe(200);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 });
  expect((await connect(event({ token }))).statusCode).toBe(500);
});

test('an issuer that does not answer is 500, before API Gateway gives up', async () => {
  const server = await keyServer(() => 'hang');
  expect((await handler({ JWKS_URL: server.url })(event({ token: await tokenOf(0) }))).statusCode).toBe(500);
});
