import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PostSigner } from '../../src/gateway/post-signer.ts';
import { Payload } from '../../src/pusher/payload.ts';
import { Sha256 } from '../support/sha256.ts';

const connectionId = fc
  .oneof(
    fc.base64String({ minLength: 4, maxLength: 24 }),
    fc.string({ minLength: 1, unit: 'grapheme' }),
    fc.stringMatching(/^[=/+%!'()*~@:;,&?# -]{1,12}$/),
  )
  .filter((id) => !/^\.{1,2}$/.test(id));
const secret = fc.stringMatching(/^[A-Za-z0-9/+=]{16,40}$/);
const identity = fc.record(
  {
    accessKeyId: fc.stringMatching(/^[A-Z0-9]{16,20}$/),
    secretAccessKey: secret,
    sessionToken: secret,
  },
  { requiredKeys: ['accessKeyId', 'secretAccessKey'] },
);
const endpoint = fc.constantFrom(
  'https://abcdef1234.execute-api.eu-central-1.amazonaws.com/production',
  'https://ws.example.com',
  'https://ws.example.com/base/path',
  'http://127.0.0.1:7401/dev',
  'https://ws.example.com:8443/$default',
);

test('posts are signed as the SDK signs them, over thousands of random requests', async () => {
  await fc.assert(
    fc.asyncProperty(
      endpoint,
      fc.constantFrom('eu-central-1', 'us-gov-west-1'),
      fc.array(
        fc.tuple(
          connectionId,
          fc.uint8Array(),
          identity,
          fc.date({
            min: new Date('2000-01-01'),
            max: new Date('2099-01-01'),
            noInvalidDate: true,
          }),
        ),
        { minLength: 1, maxLength: 5 },
      ),
      async (url, region, posts) => {
        const base = new URL(url);
        const ours = new PostSigner(base, region);
        for (const [id, bytes, credentials, date] of posts) {
          const { path, headers } = ours.sign(
            id,
            new Payload(Buffer.from(bytes)),
            credentials,
            date.getTime(),
          );
          const pairs = Object.fromEntries(
            headers.flatMap((name, n) => (n % 2 === 0 ? [[name, headers[n + 1] as string]] : [])),
          );
          const { authorization, ...unsigned } = pairs;
          const theirs = new SignatureV4({
            service: 'execute-api',
            region,
            credentials,
            sha256: Sha256 as never,
            applyChecksum: false,
          });
          const signed = await theirs.sign(
            {
              method: 'POST',
              protocol: base.protocol,
              hostname: base.hostname,
              path,
              query: {},
              headers: { host: base.host, 'content-type': 'application/octet-stream' },
              body: bytes,
            },
            { signingDate: date },
          );
          expect({ ...pairs, host: base.host }).toEqual(signed.headers);
          expect(authorization).toContain(`Credential=${credentials.accessKeyId}/`);
          expect(Object.keys(unsigned)).not.toContain('x-amz-content-sha256');
        }
      },
    ),
    { numRuns: 2000 },
  );
});
