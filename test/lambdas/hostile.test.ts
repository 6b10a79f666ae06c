import { createHmac, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CompactSign,
  EncryptJWT,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import type { WebSocketEvent } from '../../src/lambdas/event.ts';
import { loadConnectSettings } from '../../src/lambdas/settings.ts';
import { startTable } from '../support/dynamodb.ts';

const SECRET = 'a-secret-of-at-least-thirty-two-characters';
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

const table = await startTable();
afterAll(() => table.stop());
afterEach(() => void vi.useRealTimers());

function connectWith(env: Record<string, string>) {
  const { auth, connectionTtlSeconds } = loadConnectSettings(env);
  return connectHandler({ authenticator: new Authenticator(auth), store: table.store, connectionTtlSeconds });
}

let count = 0;
function event(query: Record<string, string> | null, headers: Record<string, string> | null = null): WebSocketEvent {
  return {
    requestContext: { connectionId: `h${count++}=`, connectedAt: Date.now() },
    headers,
    queryStringParameters: query,
  };
}
const stored = async ({ requestContext }: WebSocketEvent) =>
  (await table.items()).find(({ connectionId }) => connectionId === requestContext.connectionId);

const base64 = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
/** A token with any header and payload, signed with the shared secret whatever the header says. */
function forge(header: object, payload: unknown, secret = SECRET): string {
  const signed = `${base64(header)}.${base64(payload)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
const good = () => ({ sub: 'bob', exp: inAnHour() });
const sign = (claims: JWTPayload) =>
  new SignJWT({ ...good(), ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(SECRET));
const { privateKey: attackersKey, publicKey: attackersPublicKey } = await generateKeyPair('RS256', {
  extractable: true,
});
const attackersJwk = await exportJWK(attackersPublicKey);
const byAttacker = (header: Partial<JWTHeaderParameters>) =>
  new SignJWT(good()).setProtectedHeader({ alg: 'RS256', ...header }).sign(attackersKey);

/** Counts who asks it for keys. */
async function keyServer(answer: () => { status?: number; body: string } | 'hang') {
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

const FORGED: [string, () => string | Promise<string>][] = [
  ...['none', 'None', 'NONE', ''].map((alg): [string, () => string] => [
    `algorithm ${JSON.stringify(alg)} without a signature`,
    () => `${base64({ alg })}.${base64(good())}.`,
  ]),
  ['algorithm none with a signature', () => forge({ alg: 'none' }, good())],
  ['no algorithm', () => forge({ typ: 'JWT' }, good())],
  ['an algorithm that is no string', () => forge({ alg: ['HS256'] }, good())],
  ['an asymmetric algorithm, signed with the secret', () => forge({ alg: 'RS256' }, good())],
  ['a key of the sender’s own', () => byAttacker({})],
  ['a key in the header', () => byAttacker({ jwk: attackersJwk })],
  ['the secret empty', () => forge({ alg: 'HS256' }, good(), '')],
  ['the signature cut off', async () => (await sign({})).replace(/[^.]+$/, '')],
  ['the signature cut short', async () => (await sign({})).slice(0, -2)],
  [
    'another token’s signature',
    async () => (await sign({})).replace(/[^.]+$/, (await sign({ sub: 'eve' })).split('.')[2] as string),
  ],
  ['a part too many', async () => `${await sign({})}.x`],
  ['only dots', () => '..'],
  ['an unknown critical header', () => forge({ alg: 'HS256', crit: ['exp'], exp: 1 }, good())],
  [
    'an unencoded payload (b64)',
    () =>
      new CompactSign(Buffer.from(JSON.stringify(good())))
        .setProtectedHeader({ alg: 'HS256', b64: false, crit: ['b64'] })
        .sign(new TextEncoder().encode(SECRET))
        .catch(() => 'x.y.z'),
  ],
  [
    'an encrypted token',
    () =>
      new EncryptJWT(good())
        .setProtectedHeader({ alg: 'dir', enc: 'A128CBC-HS256' })
        .encrypt(new TextEncoder().encode(SECRET).slice(0, 32)),
  ],
  ['a payload that is an array', () => forge({ alg: 'HS256' }, [good()])],
  ['a payload that is no JSON', () => forge({ alg: 'HS256' }, 'bob')],
  ['an exp that is text', () => forge({ alg: 'HS256' }, { sub: 'bob', exp: '9999999999' })],
  ['an exp that is null', () => forge({ alg: 'HS256' }, { sub: 'bob', exp: null })],
  ['an exp long ago', () => forge({ alg: 'HS256' }, { sub: 'bob', exp: -1 })],
  ...[7, null, true, '', ['bob'], { toString: 'bob' }, undefined].map((sub): [string, () => string] => [
    `sub ${JSON.stringify(sub)}`,
    () => forge({ alg: 'HS256' }, { ...good(), sub }),
  ]),
  ['a hundred kilobytes of nothing', () => 'x'.repeat(100_000)],
];

test.each(FORGED)('%s: 401, nothing stored, nothing of the token repeated or logged', async (_, make) => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  onTestFinished(() => logged.mockRestore());
  const token = await make();
  const connect = connectWith({ JWT_SECRET: SECRET });
  for (const request of [event({ token }), event({}, { 'Sec-WebSocket-Protocol': `rowcast, ${token}` })]) {
    const answer = await connect(request);
    expect(answer.statusCode).toBe(401);
    if (token.length > 5) expect(answer.body).not.toContain(token);
    expect(await stored(request)).toBeUndefined();
  }
  expect(logged).not.toHaveBeenCalled();
});

test.each([
  [{ sub: 'x'.repeat(257) }, {}, /user id is text of at most 256 bytes/],
  [{ sub: '🚀'.repeat(65) }, {}, /user id is text of at most 256 bytes/],
  [{ sub: 'half \ud83d' }, {}, /user id is text/],
  [{ roles: Array.from({ length: 101 }, (_, n) => `r${n}`) }, {}, /101 roles; a connection has at most 100/],
  [{ roles: ['ok', 'x'.repeat(129)] }, {}, /name of a role is text of at most 128 bytes/],
  [{ rooms: ['*'] }, { rooms: 'x'.repeat(129) }, /name of a room is text of at most 128 bytes/],
  [
    { rooms: ['*'] },
    { rooms: Array.from({ length: 101 }, (_, n) => `r${n}`).join() },
    /101 rooms; a connection has at most 100/,
  ],
  [{ rooms: ['team-*'] }, { rooms: 'team' }, /does not allow room "team"/],
  [{ rooms: ['team-*', 'a*b'] }, { rooms: 'aXb' }, /does not allow room "aXb"/],
  [{ rooms: { board: true } }, { rooms: 'board' }, /does not allow room "board"/],
  [{ rooms: [7, null, ''] }, { rooms: '7' }, /does not allow room "7"/],
  [{}, { rooms: '__proto__' }, /does not allow room "__proto__"/],
  [{ rooms: ['board'] }, { rooms: 'board,Board' }, /does not allow room "Board"/],
])('claims %j with the query %j are 403, and say why', async (claims, query, reason) => {
  const request = event({ token: await sign(claims), ...query });
  expect(await connectWith({ JWT_SECRET: SECRET })(request)).toMatchObject({
    statusCode: 403,
    body: expect.stringMatching(reason),
  });
  expect(await stored(request)).toBeUndefined();
});

test.each([
  '__proto__',
  'constructor',
  "o'brien'; drop table x; --",
  '\u0000\u0001\n',
  '🚀 <script>',
  'all',
  'user:bob',
  '{"$ne":1}',
])('%j is a user, a room and a role like any other', async (name) => {
  const request = event({
    token: await sign({ sub: name, rooms: ['*'], roles: [name] }),
    rooms: name,
    cursor: name,
    batch: name,
  });
  expect(await connectWith({ JWT_SECRET: SECRET })(request)).toEqual({ statusCode: 200 });
  expect(await stored(request)).toMatchObject({
    userId: name,
    rooms: new Set([name.trim()]),
    roles: new Set([name]),
    cursor: name,
  });
});

test.each([
  [['rowcast', 'TOKEN'], 'rowcast'],
  [['TOKEN', 'rowcast'], 'rowcast'],
  [['chat', 'rowcast', 'v1', 'wamp.2.json', 'TOKEN'], 'rowcast'],
])('the subprotocols %j are answered with %j', async (offered, answered) => {
  const token = await sign({});
  const connect = connectWith({ JWT_SECRET: SECRET });
  for (const separator of [',', ', ', ' ,\t']) {
    const request = event(null, { 'Sec-WebSocket-Protocol': offered.join(separator).replace('TOKEN', token) });
    expect(await connect(request)).toEqual({ statusCode: 200, headers: { 'Sec-WebSocket-Protocol': answered } });
  }
});

test('a subprotocol is answered only where it was offered, as it was spelled', async () => {
  const token = await sign({});
  const connect = connectWith({ JWT_SECRET: SECRET });
  expect(await connect(event({ token }))).toEqual({ statusCode: 200 });
  expect(await connect(event({ token }, { 'Sec-WebSocket-Protocol': 'chat' }))).toEqual({ statusCode: 200 });
  expect((await connect(event({}, { 'Sec-WebSocket-Protocol': `Rowcast, ${token}` }))).statusCode).toBe(401);
  expect(await connect(event({ token }, { 'Sec-WebSocket-Protocol': 'rowcast' }))).toMatchObject({
    headers: { 'Sec-WebSocket-Protocol': 'rowcast' },
  });
});

describe('with a JWKS', async () => {
  const pairs = await Promise.all([1, 2].map(() => generateKeyPair('RS256', { extractable: true })));
  const jwks = await Promise.all(
    pairs.map(async ({ publicKey }, n) => ({ ...(await exportJWK(publicKey)), kid: `k${n}`, alg: 'RS256' })),
  );
  const tokenOf = (n: number, header: Partial<JWTHeaderParameters> = {}) =>
    new SignJWT(good())
      .setProtectedHeader({ alg: 'RS256', kid: `k${n}`, ...header })
      .sign((pairs[n] as (typeof pairs)[0]).privateKey);
  const published = (...n: number[]) => ({ body: JSON.stringify({ keys: n.map((each) => jwks[each]) }) });

  test('a public key, in whatever form, is not taken for a shared secret', async () => {
    const server = await keyServer(() => published(0));
    const connect = connectWith({ JWKS_URL: server.url });
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
    const connect = connectWith({ JWKS_URL: server.url });
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
    const connect = connectWith({ JWKS_URL: server.url });
    expect((await connect(event({ token: forge({ alg: 'HS256', kid: 'k0' }, good()) }))).statusCode).toBe(401);
    expect((await connect(event({ token: await tokenOf(0) }))).statusCode).toBe(401);
  });

  test('keys are fetched once, again when a new one is used, and a withdrawn one ends', async () => {
    const valid = { keys: [0] };
    const server = await keyServer(() => published(...valid.keys));
    const connect = connectWith({ JWKS_URL: server.url });
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
    const state: { answer: { status?: number; body: string } | 'hang' } = { answer: published(0) };
    const server = await keyServer(() => state.answer);
    const connect = connectWith({ JWKS_URL: server.url });
    const token = await tokenOf(0);
    expect((await connect(event({ token }))).statusCode).toBe(200);
    for (const answer of [
      { status: 500, body: '' },
      { body: '<html>' },
      { body: '{"keys":7}' },
      { status: 302, body: '' },
    ]) {
      state.answer = answer;
      expect((await connectWith({ JWKS_URL: server.url })(event({ token }))).statusCode).toBe(500);
    }
    expect((await connect(event({ token }))).statusCode).toBe(200);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 });
    expect((await connect(event({ token }))).statusCode).toBe(500);
  });

  test('an issuer that does not answer is 500, before API Gateway gives up', async () => {
    const server = await keyServer(() => 'hang');
    expect((await connectWith({ JWKS_URL: server.url })(event({ token: await tokenOf(0) }))).statusCode).toBe(500);
  });
});
