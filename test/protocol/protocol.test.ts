import fc from 'fast-check';
import { expect, test } from 'vitest';
import { termsOf } from '../../src/protocol/audience.ts';
import { formatCursor, parseCursor } from '../../src/protocol/cursor.ts';
import { eventFrame, readyFrame, truncatedFrame } from '../../src/protocol/frame.ts';

const event = {
  id: '1842',
  type: 'say "hi"',
  data: '{"n":12345678901234567890.10}',
  old: null,
  timestamp: '1763683200000',
  tx: '8401',
  cursor: '8401.0a1b2c3d',
};

test('a frame holds the row as it was printed', () => {
  expect(eventFrame(event)).toBe(
    '{"id":"1842","type":"say \\"hi\\"","data":{"n":12345678901234567890.10},"timestamp":1763683200000,"tx":"8401","cursor":"8401.0a1b2c3d"}',
  );
  expect(JSON.parse(eventFrame({ ...event, data: null, old: '{"n":1}' }))).toEqual({
    id: '1842',
    type: 'say "hi"',
    data: null,
    old: { n: 1 },
    timestamp: 1763683200000,
    tx: '8401',
    cursor: '8401.0a1b2c3d',
  });
});

test('a truncated frame names the row', () => {
  expect(JSON.parse(truncatedFrame(event, '{"id":7}'))).toMatchObject({
    id: '1842',
    truncated: true,
    data: { id: 7 },
  });
  expect(JSON.parse(truncatedFrame(event, null))).toMatchObject({ data: null });
});

test('READY', () => {
  expect(JSON.parse(readyFrame('1.x', false))).toEqual({
    type: 'READY',
    cursor: '1.x',
    recovered: false,
  });
});

test.each([
  [{ xmin: 8401n, xmax: 8401n, xip: [] }, '8401.0a1b2c3d'],
  [{ xmin: 8401n, xmax: 9000n, xip: [8401n, 8500n] }, '8401-599-0-99.0a1b2c3d'],
  [{ xmin: 8401n, xmax: 8410n, xip: [8401n, 8403n, 8404n, 8405n] }, '8401-9-0-2-1-1.0a1b2c3d'],
])('a snapshot is the token of a cursor, and back', (snapshot, token) => {
  expect(formatCursor(snapshot, '0a1b2c3d')).toBe(token);
  expect(parseCursor(token)).toEqual({ snapshot, installation: '0a1b2c3d' });
});

test('a cursor names every transaction in flight, however many: an approximation would bring deleted rows back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 600 }),
      fc.nat(50),
      (gaps, beyond) => {
        let xid = 8401n;
        const xip = gaps.map((gap) => (xid += BigInt(gap)));
        const snapshot = {
          xmin: xip[0] ?? xid,
          xmax: xip.length > 0 ? xid + 1n + BigInt(beyond) : xid,
          xip,
        };
        expect(parseCursor(formatCursor(snapshot, '0a1b2c3d'))).toEqual({
          snapshot,
          installation: '0a1b2c3d',
        });
      },
    ),
  );
  const xip = Array.from({ length: 5000 }, (_, i) => 100n + BigInt(i));
  const crowd = { xmin: 100n, xmax: 9000n, xip };
  expect(parseCursor(formatCursor(crowd, '0a1b2c3d'))?.snapshot).toEqual(crowd);
});

test('a cursor that no URL could carry names no place, and not an earlier one', () => {
  const xip = Array.from({ length: 3000 }, (_, i) => 100n + BigInt(i * i));
  expect(parseCursor(formatCursor({ xmin: 100n, xmax: 10_000_000n, xip }, '0a1b2c3d'))).toBeNull();
});

test('nothing else is a cursor', () => {
  for (const token of [
    '',
    '1',
    '1.',
    '.0a1b2c3d',
    '-1.0a1b2c3d',
    '0.0a1b2c3d',
    '1-.0a1b2c3d',
    '10-5-7.0a1b2c3d',
    '10-5-3-3.0a1b2c3d',
    '10-5-3-2.0a1b2c3d',
    '10-9-1-0-2.0a1b2c3d',
    '10-9-1-0-99-1.0a1b2c3d',
    '1.0A1B2C3D',
    '1.0a1b2c3d ',
    `${'9'.repeat(20)}.0a1b2c3d`,
  ])
    expect(parseCursor(token)).toBeNull();
});

test('a connection is reached by its id, its user, its rooms and roles', () => {
  expect(termsOf({ connectionId: 'c', userId: 'u', rooms: ['r'], roles: ['admin'] })).toEqual([
    'all',
    'connection:c',
    'user:u',
    'room:r',
    'role:admin',
  ]);
});
