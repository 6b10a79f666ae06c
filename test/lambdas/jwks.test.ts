import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { loadConnectSettings } from '../../src/lambdas/settings.ts';
import { startConnect } from '../support/gateway/handlers.ts';
import { attackersJwk, base64, byAttacker, forge, good, SECRET, sign } from '../support/tokens.ts';

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
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    requests: () => requests,
  };
}

type KeyAnswer = { readonly status?: number; readonly body: string } | 'hang';

const pairs = await Promise.all([1, 2].map(() => generateKeyPair('RS256', { extractable: true })));
const jwks = await Promise.all(
  pairs.map(async ({ publicKey }, n) => ({
    ...(await exportJWK(publicKey)),
    kid: `k${n}`,
    alg: 'RS256',
  })),
);
const tokenOf = (n: number, claims: JWTPayload = {}) =>
  new SignJWT({ ...good(), ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: `k${n}` })
    .sign((pairs[n] as (typeof pairs)[0]).privateKey);
const published = (...n: number[]) => ({
  body: JSON.stringify({ keys: n.map((each) => jwks[each]) }),
});

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
  expect(
    (await connect(event({ token: forge({ alg: 'HS256', kid: 'k0' }, good()) }))).statusCode,
  ).toBe(401);
  expect((await connect(event({ token: await tokenOf(0) }))).statusCode).toBe(401);
});

test('keys are fetched once, again when a new one is used, and a withdrawn one ends', async () => {
  const valid = { keys: [0] };
  const server = await keyServer(() => published(...valid.keys));
  const connect = handler({ JWKS_URL: server.url });
  const [oldToken, newToken] = await Promise.all([tokenOf(0), tokenOf(1)]);
  for (let n = 0; n < 5; n++)
    expect((await connect(event({ token: oldToken }))).statusCode).toBe(200);
  expect(server.requests()).toBe(1);

  valid.keys = [1];
  // Within seconds of a fetch, unknown keys cause no other: nobody can make this hammer the issuer.
  for (let n = 0; n < 5; n++)
    expect((await connect(event({ token: newToken }))).statusCode).toBe(401);
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
  expect(
    (await handler({ JWKS_URL: server.url })(event({ token: await tokenOf(0) }))).statusCode,
  ).toBe(500);
});

test('a token that names no key is of any published key that fits', async () => {
  const server = await keyServer(() => published(0, 1));
  const connect = handler({ JWKS_URL: server.url });
  const unnamed = (key: (typeof pairs)[0]['privateKey']) =>
    new SignJWT(good()).setProtectedHeader({ alg: 'RS256' }).sign(key);
  for (const { privateKey } of pairs)
    expect((await connect(event({ token: await unnamed(privateKey) }))).statusCode).toBe(200);
  expect((await connect(event({ token: await byAttacker({}) }))).statusCode).toBe(401);
});

test('a token signed by Ed25519 is let in, by that name and by its former one', async () => {
  const { publicKey, privateKey } = await generateKeyPair('Ed25519', { extractable: true });
  const key = { ...(await exportJWK(publicKey)), kid: 'ed' };
  const server = await keyServer(() => ({ body: JSON.stringify({ keys: [key] }) }));
  const connect = handler({ JWKS_URL: server.url });
  for (const alg of ['Ed25519', 'EdDSA']) {
    const token = await new SignJWT(good()).setProtectedHeader({ alg, kid: 'ed' }).sign(privateKey);
    expect((await connect(event({ token }))).statusCode).toBe(200);
  }
});

test('an access token of Amazon Cognito has its client in the place of an audience; what is refused is named', async () => {
  const server = await keyServer(() => published(0));
  const connect = handler({
    JWKS_URL: server.url,
    JWT_AUDIENCE: 'web',
    JWT_ISSUER: 'https://issuer',
  });
  const answer = async (claims: JWTPayload) =>
    connect(event({ token: await tokenOf(0, { iss: 'https://issuer', ...claims }) }));
  for (const claims of [
    { client_id: 'web', token_use: 'access' },
    { aud: ['web'] },
    { aud: 'web', token_use: 'id' },
  ])
    expect(await answer(claims)).toMatchObject({ statusCode: 200 });
  for (const [claims, named] of [
    [{ client_id: 'other' }, 'aud'],
    [{ aud: 'other', client_id: 'web' }, 'aud'],
    [{}, 'aud'],
    [{ aud: 'web', token_use: 'refresh' }, 'token_use'],
    [{ aud: 'web', iss: 'https://elsewhere' }, 'iss'],
  ] as const) {
    const { statusCode, body } = await answer(claims);
    expect([statusCode, body]).toEqual([401, expect.stringContaining(`claim ${named} `)]);
  }
});

test('roles are found by the name of a claim, or by its path; a claim that no token has is told once', async () => {
  const missing: string[] = [];
  const settings = (env: Record<string, string>) =>
    loadConnectSettings({ JWT_SECRET: SECRET, ...env }).auth;
  const roles = async (claim: string, claims: JWTPayload) => {
    const authenticator = new Authenticator(settings({ JWT_ROLES_CLAIM: claim }), (name) =>
      missing.push(name),
    );
    const results = [];
    for (let n = 0; n < 2; n++)
      results.push(await authenticator.authenticate(event({ token: await sign(claims) })));
    const [first] = results;
    return first?.allowed ? first.identity.roles : first;
  };
  expect(await roles('realm_access.roles', { realm_access: { roles: ['staff'] } })).toEqual([
    'staff',
  ]);
  expect(
    await roles('https://example.com/roles', { 'https://example.com/roles': ['staff'] }),
  ).toEqual(['staff']);
  expect(missing).toEqual([]);
  expect(await roles('realm_access.roles', { realm_access: 'x' })).toEqual([]);
  expect(await roles('constructor.name', {})).toEqual([]);
  expect(missing).toEqual(['realm_access.roles', 'constructor.name']);
});

test('an issuer that is down is asked once in a while, and not by each client', async () => {
  const state: { answer: KeyAnswer } = { answer: { status: 500, body: '' } };
  const server = await keyServer(() => state.answer);
  const connect = handler({ JWKS_URL: server.url });
  const token = await tokenOf(0);
  for (let n = 0; n < 20; n++) expect((await connect(event({ token }))).statusCode).toBe(500);
  expect(server.requests()).toBe(1);
  state.answer = published(0);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 6000 });
  expect((await connect(event({ token }))).statusCode).toBe(200);
});
