import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CursorTokens } from '../../src/relay/cursor-tokens.ts';

const HERE = '0a1b2c3d-0000-4000-8000-000000000000';
const keys = (byte: number, former: number | null = null) => ({
  current: Buffer.alloc(32, byte),
  former: former === null ? null : Buffer.alloc(32, former),
});
const place = { xmin: 8401n, xmax: 8410n, xip: [8403n, 8404n] };

test('a cursor that was given is taken, also after one rotation of the key, and not after two', () => {
  const token = new CursorTokens(HERE, keys(1)).format(place);
  expect(token).toMatch(/^8401-9-2-1~[\w-]{16}\.0a1b2c3d$/);
  expect(new CursorTokens(HERE, keys(1)).parse(token)).toEqual(place);
  expect(new CursorTokens(HERE, keys(2, 1)).parse(token)).toEqual(place);
  expect(new CursorTokens(HERE, keys(3, 2)).parse(token)).toBeNull();
  const elsewhere = '0a1b2c3e-0000-4000-8000-000000000000';
  expect(new CursorTokens(elsewhere, keys(1)).parse(token)).toBeNull();
});

test('a cursor that a client has made or changed names no place', () => {
  const tokens = new CursorTokens(HERE, keys(1));
  const token = tokens.format(place);
  for (const forged of [
    '1.0a1b2c3d',
    '8401-9-2-1.0a1b2c3d',
    tokens.nowhere(),
    '',
    '~.',
    token.replace('8401', '8400'),
  ])
    expect(tokens.parse(forged)).toBeNull();
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.string({ minLength: 1, maxLength: 3 }), (at, text) => {
      const changed = token.slice(0, at) + text + token.slice(at + 1);
      return changed === token || tokens.parse(changed) === null;
    }),
    { numRuns: 2000 },
  );
});
