import { CompactSign, EncryptJWT } from 'jose';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startConnect } from '../support/gateway/handlers.ts';
import { attackersJwk, base64, byAttacker, forge, good, SECRET, sign } from '../support/tokens.ts';

const { handler, event, stored } = await startConnect();

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
    async () =>
      (await sign({})).replace(/[^.]+$/, (await sign({ sub: 'eve' })).split('.')[2] as string),
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
  ...[7, null, true, '', ['bob'], { toString: 'bob' }, undefined].map(
    (sub): [string, () => string] => [
      `sub ${JSON.stringify(sub)}`,
      () => forge({ alg: 'HS256' }, { ...good(), sub }),
    ],
  ),
  ['a hundred kilobytes of nothing', () => 'x'.repeat(100_000)],
];

test.each(FORGED)(
  '%s: 401, nothing stored, nothing of the token repeated or logged',
  async (_, make) => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => logged.mockRestore());
    const token = await make();
    const connect = handler({ JWT_SECRET: SECRET });
    for (const request of [
      event({ token }),
      event({}, { 'Sec-WebSocket-Protocol': `rowcast, ${token}` }),
    ]) {
      const answer = await connect(request);
      expect(answer.statusCode).toBe(401);
      if (token.length > 5) expect(answer.body).not.toContain(token);
      expect(await stored(request)).toBeUndefined();
    }
    expect(logged).not.toHaveBeenCalled();
  },
);

test.each([
  [{ sub: 'x'.repeat(191) }, {}, /user id is text of at most 190 bytes/],
  [{ sub: '🚀'.repeat(48) }, {}, /user id is text of at most 190 bytes/],
  [{ sub: 'half \ud83d' }, {}, /user id is text/],
  [
    { roles: Array.from({ length: 101 }, (_, n) => `r${n}`) },
    {},
    /101 roles; a connection has at most 100/,
  ],
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
])(
  'claims %j with the query %j and strict=1 are 403, and say why',
  async (claims, query, reason) => {
    const request = event({ token: await sign(claims), strict: '1', ...query });
    expect(await handler({ JWT_SECRET: SECRET })(request)).toMatchObject({
      statusCode: 403,
      body: expect.stringMatching(reason),
    });
    expect(await stored(request)).toBeUndefined();
  },
);

test('a name with a NUL is refused: no text of Postgres holds one', async () => {
  const connect = handler({ JWT_SECRET: SECRET });
  for (const claims of [{ sub: 'a\0' }, { sub: 'a', roles: ['a\0'] }])
    expect(await connect(event({ token: await sign(claims) }))).toMatchObject({ statusCode: 403 });
  const request = event({ token: await sign({ rooms: ['*'] }), rooms: 'a\0' });
  expect(await connect(request)).toMatchObject({ statusCode: 403 });
});

test.each([
  '__proto__',
  'constructor',
  "o'brien'; drop table x; --",
  '\u0001\n',
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
  expect(await handler({ JWT_SECRET: SECRET })(request)).toEqual({ statusCode: 200 });
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
  const connect = handler({ JWT_SECRET: SECRET });
  for (const separator of [',', ', ', ' ,\t']) {
    const request = event(null, {
      'Sec-WebSocket-Protocol': offered.join(separator).replace('TOKEN', token),
    });
    expect(await connect(request)).toEqual({
      statusCode: 200,
      headers: { 'Sec-WebSocket-Protocol': answered },
    });
  }
});

test('a subprotocol is answered only where it was offered, as it was spelled', async () => {
  const token = await sign({});
  const connect = handler({ JWT_SECRET: SECRET });
  expect(await connect(event({ token }))).toEqual({ statusCode: 200 });
  expect(await connect(event({ token }, { 'Sec-WebSocket-Protocol': 'chat' }))).toEqual({
    statusCode: 200,
  });
  expect(
    (await connect(event({}, { 'Sec-WebSocket-Protocol': `Rowcast, ${token}` }))).statusCode,
  ).toBe(401);
  expect(await connect(event({ token }, { 'Sec-WebSocket-Protocol': 'rowcast' }))).toMatchObject({
    headers: { 'Sec-WebSocket-Protocol': 'rowcast' },
  });
});
