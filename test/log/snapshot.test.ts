import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Snapshot } from '../../src/log/snapshot.ts';

/** Above every xid of a snapshot that is drawn here. */
const LIMIT = 24n;

/** Snapshots as Postgres makes them: xmin is the first in flight, or xmax. */
const snapshot = fc
  .record({
    xmax: fc.integer({ min: 1, max: 20 }),
    running: fc.uniqueArray(fc.integer({ min: 1, max: 19 })),
  })
  .map(({ xmax, running }) => {
    const xip = running
      .filter((xid) => xid < xmax)
      .sort((a, b) => a - b)
      .map(BigInt);
    return new Snapshot(xip[0] ?? BigInt(xmax), BigInt(xmax), xip);
  });

/** The plain model: the set of xids that are over. */
const over = (seen: Snapshot) => {
  const xids = new Set<bigint>();
  const inFlight = new Set(seen.xip);
  for (let xid = 1n; xid < LIMIT; xid++) if (xid < seen.xmax && !inFlight.has(xid)) xids.add(xid);
  return xids;
};

test('a snapshot is printed as it was read, and knows what it sees', () => {
  const seen = Snapshot.parse('10:20:10,15');
  expect(seen.text).toBe('10:20:10,15');
  expect([9n, 10n, 11n, 15n, 19n, 20n].map((xid) => seen.sees(xid))).toEqual([
    true,
    false,
    true,
    false,
    true,
    false,
  ]);
  expect(() => Snapshot.parse('10:20')).toThrow('not a pg_snapshot');
});

test('sees, isWithin and meet are membership, subset and intersection of plain sets of xids', () => {
  fc.assert(
    fc.property(snapshot, snapshot, (a, b) => {
      const [setA, setB] = [over(a), over(b)];
      for (let xid = 1n; xid < LIMIT; xid++) expect(a.sees(xid)).toBe(setA.has(xid));
      expect(a.isWithin(b)).toBe([...setA].every((xid) => setB.has(xid)));
      expect(over(a.meet(b))).toEqual(new Set([...setA].filter((xid) => setB.has(xid))));
    }),
    { numRuns: 2000 },
  );
});

test('the laws of a lattice: meet is commutative, associative and idempotent, and the greatest that is within both', () => {
  fc.assert(
    fc.property(snapshot, snapshot, snapshot, (a, b, c) => {
      expect(over(a.meet(b))).toEqual(over(b.meet(a)));
      expect(over(a.meet(b).meet(c))).toEqual(over(Snapshot.meet([a, b, c])));
      expect(a.meet(a)).toBe(a);
      expect(a.meet(b).isWithin(a)).toBe(true);
      if (c.isWithin(a) && c.isWithin(b)) expect(c.isWithin(a.meet(b))).toBe(true);
      if (a.isWithin(b) && b.isWithin(c)) expect(a.isWithin(c)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('neither of two snapshots needs to be the earlier', () => {
  const [a, b] = ['100:100:', '100:105:100,102'].map(Snapshot.parse) as [Snapshot, Snapshot];
  expect([a.isWithin(b), b.isWithin(a)]).toEqual([true, false]);
  const [c, d] = ['100:105:102', '100:103:100'].map(Snapshot.parse) as [Snapshot, Snapshot];
  expect([c.isWithin(d), d.isWithin(c)]).toEqual([false, false]);
  expect(c.meet(d).text).toBe('100:103:100,102');
});
