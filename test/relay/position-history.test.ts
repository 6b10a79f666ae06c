import { expect, test } from 'vitest';
import { Snapshot } from '../../src/log/snapshot.ts';
import { PositionHistory } from '../../src/relay/position-history.ts';

const HOURS_MS = 12 * 3_600_000;
const at = (ms: number) => new Snapshot(BigInt(ms), BigInt(ms), []);

test('over hours without a commit the past grows coarse, and stays within bounds: never later than it was', () => {
  const history = new PositionHistory({ atMs: 0, snapshot: at(0) });
  for (let ms = 250; ms <= HOURS_MS; ms += 250) history.record(ms, at(ms));
  const asked = Array.from({ length: HOURS_MS / 10_000 }, (_, n) => n * 10_000);
  expect(asked.filter((ms) => Number(history.at(ms).snapshot.xmax) > ms)).toEqual([]);
  expect(new Set(asked.map((ms) => history.at(ms).snapshot.text)).size).toBeLessThan(asked.length);
  expect(Number(history.at(HOURS_MS).snapshot.xmax)).toBe(HOURS_MS);
});

test('an unchanged snapshot is one moment', () => {
  const history = new PositionHistory({ atMs: 0, snapshot: at(0) });
  for (let ms = 250; ms <= 10_000; ms += 250) history.record(ms, at(7));
  history.forgetBefore(9999);
  expect(history.at(5000)).toEqual(history.at(10_000));
});
