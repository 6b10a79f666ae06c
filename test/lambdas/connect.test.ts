import { UnsecuredJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { fromItem } from '../../src/connections/connection.ts';
import { Authenticator } from '../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../src/lambdas/connect.ts';
import { disconnectHandler } from '../../src/lambdas/disconnect.ts';
import { loadConnectSettings } from '../../src/lambdas/settings.ts';
import { startTable } from '../support/dynamodb/dynamodb.ts';
import { startConnect } from '../support/gateway/handlers.ts';
import { SECRET, sign } from '../support/tokens.ts';

const now = () => Math.floor(Date.now() / 1000);
const { table, handler, event, stored } = await startConnect();

describe('with a shared secret', () => {
  const connect = handler({
    JWT_SECRET: SECRET,
    JWT_ISSUER: 'https://issuer',
    JWT_AUDIENCE: 'rowcast',
  });
  const good = { iss: 'https://issuer', aud: 'rowcast' };

  test('a good token is let in, and the connection stored with what the token says', async () => {
    const token = await sign({ ...good, roles: ['admin'], rooms: ['lobby', 'team-*'] });
    const request = event({ token, rooms: 'lobby, team-7', cursor: '12.abcdef01', batch: '1' });
    expect(await connect(request)).toEqual({ statusCode: 200 });
    const { connectionId, connectedAt } = request.requestContext;
    expect(await stored(request)).toEqual({
      connectionId,
      connectedAt,
      userId: 'bob',
      ttl: expect.any(Number),
      rooms: new Set(['lobby', 'team-7']),
      roles: new Set(['admin']),
      allowed: new Set(['lobby', 'team-*']),
      cursor: '12.abcdef01',
      batch: true,
    });
  });

  test('the connection ends with its token, or after two hours, whichever is first', async () => {
    const [short, long] = [
      event({ token: await sign({ ...good, exp: now() + 60 }) }),
      event({ token: await sign({ ...good, exp: now() + 99_999 }) }),
    ];
    await Promise.all([connect(short), connect(long)]);
    expect(Number((await stored(short))?.ttl) - now()).toBeLessThanOrEqual(60);
    expect(Number((await stored(long))?.ttl) - now()).toBeLessThanOrEqual(7200);
    expect(Number((await stored(long))?.ttl) - now()).toBeGreaterThan(7100);
  });

  test('the token may come as a subprotocol, whatever the case and spacing, and rowcast is answered', async () => {
    const token = await sign(good);
    const request = event({}, { 'sec-websocket-PROTOCOL': `rowcast,  ${token}` });
    expect(await connect(request)).toEqual({
      statusCode: 200,
      headers: { 'Sec-WebSocket-Protocol': 'rowcast' },
    });
    expect(await stored(request)).toMatchObject({ userId: 'bob' });
  });

  test.each([
    ['no token', async () => undefined],
    ['not a token', async () => 'nonsense'],
    ['expired', () => sign({ ...good, exp: now() - 60 })],
    ['not yet valid', () => sign({ ...good, nbf: now() + 600 })],
    ['signed with another secret', () => sign(good, 'another-secret-of-thirty-two-characters!')],
    ['another issuer', () => sign({ ...good, iss: 'https://evil' })],
    ['another audience', () => sign({ ...good, aud: 'other' })],
    ['without a user', () => sign({ ...good, sub: '' })],
    ['algorithm none', async () => new UnsecuredJWT({ sub: 'bob', ...good }).encode()],
    [
      'a tampered payload',
      async () =>
        (await sign(good)).replace(
          /\.(.+)\./,
          (_, body: string) =>
            `.${Buffer.from(Buffer.from(body, 'base64url').toString().replace('bob', 'eve')).toString('base64url')}.`,
        ),
    ],
  ])('%s: 401, nothing stored, the token not repeated', async (_, make) => {
    const token = await make();
    const request = event(token === undefined ? {} : { token });
    const answer = await connect(request);
    expect(answer.statusCode).toBe(401);
    expect(answer.body).toBeTruthy();
    if (token) expect(answer.body).not.toContain(token);
    expect(await stored(request)).toBeUndefined();
  });

  test('a room that the token does not allow costs no connection: the relay is told what was asked for', async () => {
    const request = event({
      token: await sign({ ...good, rooms: ['team-*'] }),
      rooms: 'board, team-1',
    });
    expect(await connect(request)).toMatchObject({ statusCode: 200 });
    const item = await stored(request);
    expect(item).toMatchObject({ rooms: new Set(['team-1']), wanted: 'board,team-1' });
    expect(fromItem(item as never)).toMatchObject({ rooms: ['team-1'], refused: ['board'] });
  });

  test('with strict=1 it is 403 and named', async () => {
    const request = event({
      token: await sign({ ...good, rooms: ['team-*'] }),
      rooms: 'team-1,board',
      strict: '1',
    });
    expect(await connect(request)).toMatchObject({
      statusCode: 403,
      body: expect.stringContaining('"board"'),
    });
    expect(await stored(request)).toBeUndefined();
  });

  test('a user id cannot be chosen in the query', async () => {
    const request = event({ token: await sign(good), userId: 'admin', roles: 'admin' });
    await connect(request);
    expect(await stored(request)).toMatchObject({ userId: 'bob' });
    expect(await stored(request)).not.toHaveProperty('roles');
  });
});

test('with AUTH_MODE=none, which must be said, one is who one says', async () => {
  const connect = handler({ AUTH_MODE: 'none' });
  const request = event({ userId: 'alice', rooms: 'a,b', roles: 'admin' });
  expect((await connect(request)).statusCode).toBe(200);
  expect(await stored(request)).toMatchObject({
    userId: 'alice',
    rooms: new Set(['a', 'b']),
    roles: new Set(['admin']),
  });
});

test.each([
  [{}],
  [{ JWT_SECRET: SECRET, JWKS_URL: 'https://keys' }],
  [{ AUTH_MODE: 'off' }],
  [{ JWKS_URL: 'http://keys.example.com' }],
  [{ JWKS_URL: 'http://localhost.evil.example/k' }],
  [{ JWKS_URL: 'http://localhost@evil.example/k' }],
  [{ JWKS_URL: 'http://127.evil.example/k' }],
  [{ JWKS_URL: 'ftp://keys.example.com/k' }],
])('settings %j are refused', (env) => {
  expect(() => loadConnectSettings(env)).toThrow(
    /JWT_SECRET or JWKS_URL|AUTH_MODE|JWKS_URL is plain http/,
  );
});

test('a table that does not answer is 500', async () => {
  const gone = await startTable();
  await gone.stop();
  const connect = connectHandler({
    authenticator: new Authenticator({ mode: 'none' }),
    store: gone.store,
    connectionTtlSeconds: 60,
  });
  expect((await connect(event())).statusCode).toBe(500);
});

test('$disconnect removes the connection, and is no error when it is gone', async () => {
  const request = event({ userId: 'alice' });
  await handler({ AUTH_MODE: 'none' })(request);
  const disconnect = disconnectHandler({ store: table.store });
  expect(await disconnect(request)).toEqual({ statusCode: 200 });
  expect(await stored(request)).toBeUndefined();
  expect(await disconnect(request)).toEqual({ statusCode: 200 });
});

test('a repeated $connect does not undo a later one of the same id', async () => {
  const { store } = table;
  const connection = { connectionId: 'same=', userId: 'new', connectedAt: 2000, ttl: now() + 60 };
  await store.put(connection);
  await store.put({ ...connection, userId: 'old', connectedAt: 1000 });
  expect((await table.items()).find(({ connectionId }) => connectionId === 'same=')).toMatchObject({
    userId: 'new',
  });
  await store.remove('same=', 1000);
  expect((await table.items()).some(({ connectionId }) => connectionId === 'same=')).toBe(true);
});

test('a room that a user named as a pattern is none where patterns have a claim of their own', async () => {
  const claims = { rooms: ['team-*', '*'], may_join: ['board-*'] };
  const token = await sign(claims);
  const connect = handler({ JWT_SECRET: SECRET, JWT_ROOM_PATTERNS_CLAIM: 'may_join' });
  const status = async (rooms: string) =>
    (await connect(event({ token, rooms, strict: 'true' }))).statusCode;
  expect(await status('team-7')).toBe(403);
  expect(await status('lobby')).toBe(403);
  expect(await status('team-*,board-1')).toBe(200);
});

test('a claim that is one string is one name, but for the words of OAuth', async () => {
  const token = await sign({ roles: 'data, entry', scope: 'read write' });
  const rolesBy = async (claim: string) => {
    const request = event({ token });
    await handler({ JWT_SECRET: SECRET, JWT_ROLES_CLAIM: claim })(request);
    return (await stored(request))?.roles;
  };
  expect(await rolesBy('roles')).toEqual(new Set(['data, entry']));
  expect(await rolesBy('scope')).toEqual(new Set(['read', 'write']));
});

test('a name is stored in one form, however it was typed', async () => {
  const decomposed = 'Ame\u0301lie';
  const request = event({
    token: await sign({ sub: decomposed, rooms: [`of ${decomposed}`], roles: [decomposed] }),
    rooms: 'of Am\u00e9lie',
  });
  expect((await handler({ JWT_SECRET: SECRET })(request)).statusCode).toBe(200);
  expect(await stored(request)).toMatchObject({
    userId: 'Am\u00e9lie',
    rooms: new Set(['of Am\u00e9lie']),
    roles: new Set(['Am\u00e9lie']),
  });
});

test('a user who has as many connections as are allowed is refused, and others are not', async () => {
  const connect = handler({ AUTH_MODE: 'none', CONNECTIONS_PER_USER: '2' });
  const status = async (userId: string) => (await connect(event({ userId }))).statusCode;
  expect([await status('greedy'), await status('greedy'), await status('greedy')]).toEqual([
    200, 200, 429,
  ]);
  expect(await status('modest')).toBe(200);
});

test('an address that has as many connections as are allowed is refused; of IPv6 the /64 counts', async () => {
  const connect = handler({ AUTH_MODE: 'none', CONNECTIONS_PER_ADDRESS: '2' });
  const status = async (sourceIp: string) => {
    const { requestContext, ...request } = event({ userId: 'anybody' });
    return (
      await connect({ ...request, requestContext: { ...requestContext, identity: { sourceIp } } })
    ).statusCode;
  };
  const all = async (...addresses: string[]) => {
    const answers = [];
    for (const each of addresses) answers.push(await status(each));
    return answers;
  };
  expect(await all('192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2')).toEqual([
    200, 200, 429, 200,
  ]);
  expect(
    await all('2001:db8::1', '2001:0DB8:0:0:ffff::2', '2001:db8:0:0:1:2:3:4', '2001:db8:0:1::1'),
  ).toEqual([200, 200, 429, 200]);
});

test('others hear of a user what the claim for presence says, where it is small, and nothing else', async () => {
  const infoBy = async (claims: object, env: object) => {
    const request = event({ token: await sign({ ...claims }), info: 'forged' });
    await handler({ JWT_SECRET: SECRET, ...env })(request);
    const item = await stored(request);
    return [item?.info, fromItem(item as never)?.info];
  };
  const by = (JWT_PRESENCE_CLAIM: string) => ({ JWT_PRESENCE_CLAIM });
  const card = '{"name":"Ann","tags":[1,null]}';
  expect(await infoBy({ card: JSON.parse(card) }, by('card'))).toEqual([card, card]);
  expect(await infoBy({ profile: { name: 'Ann' } }, by('profile.name'))).toEqual([
    '"Ann"',
    '"Ann"',
  ]);
  expect(await infoBy({ card: 'é'.repeat(255) }, by('card'))).toHaveLength(2);
  const nothing = [undefined, undefined];
  expect(await infoBy({ card: 'é'.repeat(256) }, by('card'))).toEqual(nothing);
  for (const broken of ['\ud800', 'a\0'])
    expect(await infoBy({ card: { name: broken } }, by('card'))).toEqual(nothing);
  expect(await infoBy({}, by('card'))).toEqual(nothing);
  expect(await infoBy({ card: JSON.parse(card) }, {})).toEqual(nothing);
});

test('an item whose info is no small JSON text is a connection without it', () => {
  const item = { connectionId: 'c', userId: 'u', connectedAt: 1, ttl: 2 };
  for (const info of ['{', '', 7, '"a\0"', JSON.stringify('x'.repeat(600)), null])
    expect(fromItem({ ...item, info })).toEqual(item);
});

test('a refusal is explained to who asks for that status, where it may be, and nothing is stored', async () => {
  const offering = async (env: object, protocols: string) => {
    const request = {
      ...event({}),
      headers: { 'Sec-WebSocket-Protocol': protocols },
    };
    const { statusCode, headers } = await handler({ JWT_SECRET: SECRET, ...env })(request);
    expect(await stored(request)).toBeUndefined();
    return [statusCode, headers?.['Sec-WebSocket-Protocol']];
  };
  const on = { EXPLAIN_REFUSALS: 'on' };
  const all = 'rowcast, bad.token, rowcast.401, rowcast.403';
  expect(await offering(on, all)).toEqual([200, 'rowcast.401']);
  expect(await offering(on, 'rowcast, rowcast.401')).toEqual([200, 'rowcast.401']);
  expect(await offering(on, 'rowcast, bad.token, rowcast.403')).toEqual([401, undefined]);
  expect(await offering({}, all)).toEqual([401, undefined]);
  const good = {
    ...event({}),
    headers: { 'Sec-WebSocket-Protocol': `rowcast, ${await sign({})}, rowcast.401` },
  };
  expect(await handler({ JWT_SECRET: SECRET, ...on })(good)).toEqual({
    statusCode: 200,
    headers: { 'Sec-WebSocket-Protocol': 'rowcast' },
  });
});
