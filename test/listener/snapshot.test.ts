import { expect, test } from 'vitest';
import { Snapshot } from '../../src/listener/snapshot.ts';

test('a snapshot is printed as it was read, and knows what it sees', () => {
  const snapshot = Snapshot.parse('10:20:10,15');
  expect(snapshot.text).toBe('10:20:10,15');
  expect([9n, 10n, 11n, 15n, 19n, 20n].map((xid) => snapshot.sees(xid))).toEqual([
    true,
    false,
    true,
    false,
    true,
    false,
  ]);
  expect(() => Snapshot.parse('10:20')).toThrow('not a pg_snapshot');
});

test('the intersection sees what all see, and nothing else', () => {
  const snapshots = ['10:20:10,15', '12:18:13', '5:30:5,16,29'].map(Snapshot.parse);
  const both = Snapshot.intersection(snapshots);
  for (let xid = 1n; xid < 40n; xid++) expect(both.sees(xid)).toBe(snapshots.every((each) => each.sees(xid)));
  expect(both.text).toBe('5:18:5,10,13,15,16');
});
