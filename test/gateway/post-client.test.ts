import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignatureV4 } from '@smithy/signature-v4';
import { expect, onTestFinished, test } from 'vitest';
import { Credentials, type Expiring } from '../../src/gateway/credentials.ts';
import { PostClient } from '../../src/gateway/post-client.ts';
import { Payload } from '../../src/pusher/payload.ts';
import { Sha256 } from '../support/sha256.ts';

const REGION = 'eu-central-1';
const STATIC = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'secret',
  sessionToken: 'a/session+token==',
};
const payload = new Payload(Buffer.from('{"a":1}'));

/** A callback API that answers what it is told: a real one cannot be made to fail at will. */
async function start(
  answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => unknown,
  provider: ConstructorParameters<typeof Credentials>[0] = async () => STATIC,
) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    answer(request, response, Buffer.concat(chunks));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new PostClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/prod`,
    region: REGION,
    credentials: new Credentials(provider),
    maxSockets: 2,
    connectTimeoutMs: 500,
    requestTimeoutMs: 500,
  });
  onTestFinished(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { client, server };
}

/** Signs what came as the SDK would, and compares. */
async function isSigned(
  request: IncomingMessage,
  body: Buffer,
  identity: typeof STATIC,
  now: Date,
): Promise<boolean> {
  const signer = new SignatureV4({
    service: 'execute-api',
    region: REGION,
    credentials: identity,
    sha256: Sha256 as never,
    applyChecksum: false,
  });
  const { host = '', 'content-type': type = '' } = request.headers;
  const [hostname = ''] = host.split(':');
  const sent = new Date(
    String(request.headers['x-amz-date']).replace(
      /(....)(..)(..)T(..)(..)(..)Z/,
      '$1-$2-$3T$4:$5:$6Z',
    ),
  );
  const signed = await signer.sign(
    {
      method: 'POST',
      protocol: 'http:',
      hostname,
      path: String(request.url),
      query: {},
      headers: { host, 'content-type': type },
      body,
    },
    { signingDate: sent },
  );
  const close = Math.abs(sent.getTime() - now.getTime()) < 300_000;
  return close && signed.headers.authorization === request.headers.authorization;
}

test.each([
  [200, '', {}, { kind: 'delivered' }],
  [204, '', {}, { kind: 'delivered' }],
  [410, '<html>', {}, { kind: 'gone' }],
  [
    429,
    '{"message":"Too Many Requests"}',
    { 'x-amzn-errortype': 'LimitExceededException' },
    { kind: 'throttled' },
  ],
  [
    413,
    '{"message":"too large"}',
    {},
    { kind: 'rejected', status: 413, reason: 'HTTP 413: {"message":"too large"}' },
  ],
  [
    400,
    '',
    { 'x-amzn-errortype': 'BadRequestException' },
    { kind: 'rejected', status: 400, reason: 'BadRequestException: ' },
  ],
  [
    403,
    'no',
    { 'x-amzn-errortype': 'ForbiddenException', 'x-amzn-requestid': 'r-1' },
    { kind: 'failed', status: 403, reason: 'ForbiddenException: no (request r-1)' },
  ],
  [302, '', {}, { kind: 'failed', status: 302, reason: 'HTTP 302: ' }],
  [
    500,
    'x'.repeat(100_000),
    {},
    { kind: 'failed', status: 500, reason: `HTTP 500: ${'x'.repeat(300)}` },
  ],
])('%i is told by its status', async (status, body, headers, outcome) => {
  const { client } = await start((_, response) => response.writeHead(status, headers).end(body));
  for (let n = 0; n < 3; n++) expect(await client.post('a=', payload)).toEqual(outcome);
});

test('an answer that does not come, does not end, or is cut off is a failure with its reason', async () => {
  const answers = [
    () => undefined,
    (_: IncomingMessage, response: ServerResponse) => void response.writeHead(200).write('{'),
    (request: IncomingMessage) => request.socket.destroy(),
  ];
  const { client, server } = await start((request, response) => answers[0]?.(request, response));
  expect(await client.post('a=', payload)).toMatchObject({
    kind: 'failed',
    reason: expect.stringContaining('UND_ERR_HEADERS_TIMEOUT'),
  });
  answers.shift();
  expect(await client.post('a=', payload)).toMatchObject({
    kind: 'failed',
    reason: expect.stringContaining('UND_ERR_BODY_TIMEOUT'),
  });
  answers.shift();
  expect(await client.post('a=', payload)).toMatchObject({
    kind: 'failed',
    reason: expect.stringMatching(/UND_ERR_SOCKET|ECONNRESET/),
  });
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  expect(await client.post('a=', payload)).toMatchObject({
    kind: 'failed',
    reason: expect.stringContaining('ECONNREFUSED'),
  });
});

test('an answer of a byte now and then ends at a deadline, however long it would go on', async () => {
  const { client } = await start((_, response) => {
    response.writeHead(500);
    const drip = setInterval(() => response.write('x'), 100);
    response.once('close', () => clearInterval(drip));
  });
  expect(await client.post('a=', payload)).toEqual({
    kind: 'failed',
    reason: 'Error: no whole answer within 1000 ms',
  });
});

test('a post arrives as it was sent, signed, for any connection id', async () => {
  const seen: [string, boolean][] = [];
  const { client } = await start(async (request, response, body) => {
    seen.push([
      String(request.url),
      body.equals(payload.bytes) && (await isSigned(request, body, STATIC, new Date())),
    ]);
    response.end();
  });
  for (const id of ['L0SM9cOFvHcCIhw=', 'a/b+c=', '100%', 'ä 🚀', "!'()*"])
    expect(await client.post(id, payload)).toEqual({ kind: 'delivered' });
  expect(seen).toEqual([
    ['/prod/@connections/L0SM9cOFvHcCIhw%3D', true],
    ['/prod/@connections/a%2Fb%2Bc%3D', true],
    ['/prod/@connections/100%25', true],
    ['/prod/@connections/%C3%A4%20%F0%9F%9A%80', true],
    ['/prod/@connections/%21%27%28%29%2A', true],
  ]);
});

test('a clock that is wrong by minutes is set by the gateway’s', async () => {
  const theirs = () => new Date(Date.now() + 20 * 60_000);
  const { client } = await start(async (request, response, body) => {
    const good = await isSigned(request, body, STATIC, theirs());
    response.writeHead(good ? 200 : 403, { date: theirs().toUTCString() }).end();
  });
  expect(await client.post('a=', payload)).toMatchObject({ kind: 'failed', status: 403 });
  for (let n = 0; n < 3; n++)
    expect(await client.post('a=', payload)).toEqual({ kind: 'delivered' });
});

test('credentials: the new ones once the old have expired, the old while they are good, none is a failure', async () => {
  const keys: string[] = [];
  const { client } = await start(
    (request, response) => {
      keys.push(/Credential=(\w+)/.exec(String(request.headers.authorization))?.[1] as string);
      response.end();
    },
    async () => {
      const next = provided.shift();
      if (next instanceof Error || !next) throw next ?? new Error('no more');
      return next;
    },
  );
  const until = (accessKeyId: string, ms: number): Expiring => ({
    ...STATIC,
    accessKeyId,
    expiration: new Date(Date.now() + ms),
  });
  const provided: (Expiring | Error)[] = [
    new Error('metadata is away'),
    until('FIRST', -1),
    until('SECOND', 3_600_000),
  ];
  expect(await client.post('a=', payload)).toEqual({
    kind: 'failed',
    reason: 'no credentials: metadata is away',
  });
  await client.post('a=', payload);
  await client.post('a=', payload);
  await client.post('a=', payload);
  expect(keys).toEqual(['FIRST', 'SECOND', 'SECOND']);
});

test('credentials that are refused before their time are fetched again', async () => {
  const asked: (boolean | undefined)[] = [];
  let current = 'OLD';
  const { client } = await start(
    (request, response) =>
      response.writeHead(request.headers.authorization?.includes('OLD') ? 403 : 200).end(),
    async (options) => {
      asked.push(options?.forceRefresh);
      if (options?.forceRefresh) current = 'NEW';
      return { ...STATIC, accessKeyId: current };
    },
  );
  await expect.poll(async () => (await client.post('a=', payload)).kind).toBe('delivered');
  expect(asked).toContain(true);
});
