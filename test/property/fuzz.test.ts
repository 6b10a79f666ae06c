import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { framesOf } from '../../src/client/frames.ts';
import { connectionOf } from '../../src/connections/table-item.ts';
import { MAX_CURSOR_LENGTH, parseCursor } from '../../src/protocol/cursor.ts';
import { refusalOf } from '../../src/request-guard.ts';
import { startConnect } from '../support/gateway/handlers.ts';
import { base64, forge, SECRET, sign } from '../support/tokens.ts';

/** At night: FUZZ_RUNS=1000000. */
const numRuns = Number(process.env.FUZZ_RUNS ?? 3000);

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '__proto__', '\ud800', '\u0000', '*', 'x'.repeat(2000), '9'.repeat(400)),
);
const number = fc.oneof(
  fc.double().map(String),
  fc.bigInt().map(String),
  fc.constantFrom('NaN', '1e125', '-1e125', '1e-130', '0x10', ''),
);
const attribute = fc.letrec<{ any: AttributeValue }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    text.map((S) => ({ S })),
    number.map((N) => ({ N })),
    fc.boolean().map((BOOL) => ({ BOOL })),
    fc.constant({ NULL: true as const }),
    fc.uint8Array().map((B) => ({ B })),
    fc.array(text).map((SS) => ({ SS })),
    fc.array(number).map((NS) => ({ NS })),
    fc.array(tie('any')).map((L) => ({ L })),
    fc.dictionary(text, tie('any')).map((M) => ({ M })),
    fc.constant({} as AttributeValue),
  ),
})).any;
const names = ['connectionId', 'userId', 'connectedAt', 'ttl', 'rooms', 'roles', 'cursor', 'batch'];
const item = fc
  .tuple(
    fc.constantFrom({}, plainItem()),
    fc.dictionary(fc.oneof(fc.constantFrom(...names), text), attribute),
  )
  .map((parts): Record<string, AttributeValue> => Object.assign({}, ...parts));

function plainItem(): Record<string, AttributeValue> {
  return {
    connectionId: { S: 'a=' },
    userId: { S: 'u' },
    connectedAt: { N: '1' },
    ttl: { N: '2' },
  };
}

test('whatever an item of the table is, it is a connection within its bounds or none', () => {
  fc.assert(
    fc.property(item, (each) => {
      const found = connectionOf(each);
      if (!found) return;
      expect(found.connectionId).toMatch(/^[\w+/=-]{1,128}$/);
      expect(Number.isSafeInteger(found.connectedAt) && found.connectedAt >= 0).toBe(true);
      expect(Number.isSafeInteger(found.ttl) && found.ttl >= 0).toBe(true);
      for (const name of [found.userId, ...(found.rooms ?? []), ...(found.roles ?? [])]) {
        expect(name.length).toBeLessThanOrEqual(1000);
        expect(name).not.toMatch(/\p{Surrogate}/u);
      }
      expect((found.cursor ?? '').length).toBeLessThanOrEqual(MAX_CURSOR_LENGTH);
    }),
    { numRuns },
  );
});

test('whatever a cursor is, it names a place that a snapshot can be, or none', () => {
  const digits = fc.bigInt({ min: 0n, max: 10n ** 20n }).map(String);
  const near = fc
    .tuple(fc.array(fc.oneof(digits, fc.constantFrom('0', '1', '-', '')), { maxLength: 8 }), text)
    .map(([parts, tail]) => `${parts.join('-')}.${tail || '91e2aadd'}`);
  fc.assert(
    fc.property(fc.oneof(text, near), (token) => {
      const snapshot = parseCursor(token)?.snapshot;
      if (!snapshot) return;
      let before = snapshot.xmin - 1n;
      for (const xid of snapshot.xip) {
        expect(xid > before && xid < snapshot.xmax).toBe(true);
        before = xid;
      }
      expect(snapshot.xmax >= snapshot.xmin).toBe(true);
    }),
    { numRuns },
  );
});

test('whatever a message is, the client reads frames or none, and throws nothing', () => {
  const pieces = fc
    .array(
      fc.oneof(
        fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', 'null', '"type"', '"data"'),
        fc.constantFrom('{"type":"BATCH","events":[', '"READY"', '"cursor"', ' '),
        fc.json({ maxDepth: 2 }),
      ),
      { maxLength: 12 },
    )
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(pieces, fc.boolean(), (message, dataAsText) => {
      for (const frame of framesOf(message, dataAsText)) expect(frame).toBeTruthy();
    }),
    { numRuns },
  );
});

test('whatever a token is, it lets in as whom it was signed for or it lets nobody in', async () => {
  const { handler, event, stored } = await startConnect();
  const connect = handler({ JWT_SECRET: SECRET });
  const valid = await sign({ rooms: ['lobby', 'team-*'], roles: ['admin'] });
  const changed = fc
    .tuple(fc.nat(valid.length - 1), text, fc.nat(3))
    .map(([at, put, cut]) => valid.slice(0, at) + put + valid.slice(at + cut));
  const claims = fc
    .dictionary(
      fc.constantFrom('sub', 'exp', 'nbf', 'iat', 'rooms', 'roles', 'iss', 'aud', 'token_use'),
      fc.oneof(text, fc.double(), fc.array(text), fc.constant(null), fc.object({ maxDepth: 1 })),
    )
    .map((some) => forge({ alg: 'HS256' }, some));
  const token = fc.oneof(text, changed, claims, fc.json().map(base64));
  await fc.assert(
    fc.asyncProperty(token, fc.option(text), async (each, room) => {
      const request = event({ token: each, ...(room === null ? {} : { rooms: room }) });
      const { statusCode } = await connect(request);
      expect([200, 401, 403]).toContain(statusCode);
      if (statusCode !== 200) return;
      const found = await stored(request);
      const said = JSON.parse(
        Buffer.from(each.split('.')[1] as string, 'base64url').toString(),
      ) as { sub: string };
      expect(found?.userId).toBe(said.sub.normalize('NFC'));
    }),
    { numRuns: numRuns / 10 },
  );
});

test('whatever the headers are, a page of another site is refused', () => {
  const name = fc.oneof(
    text,
    fc.domain(),
    fc.constantFrom('127.0.0.1', 'localhost', '[::1]', '127.0.0.1.evil.test', 'null'),
  );
  fc.assert(
    fc.property(
      fc.record({ host: name, origin: name, port: fc.nat(65_535) }),
      ({ host, origin, port }) => {
        const foreign = fc.sample(fc.domain(), 1)[0];
        const headers = { host: `${host}:${port}`, origin: `https://${foreign}` };
        for (const audience of ['programs', 'own page', 'local pages'] as const)
          expect(refusalOf(headers, audience)).not.toBeNull();
        refusalOf({ host, origin }, 'own page');
      },
    ),
    { numRuns },
  );
});
