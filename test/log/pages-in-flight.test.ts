import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Position } from '../../src/log/event-log.ts';
import { PagesInFlight } from '../../src/log/pages-in-flight.ts';
import { Snapshot } from '../../src/log/snapshot.ts';

const at = (xid: number): Position => ({ snapshot: new Snapshot(BigInt(xid), BigInt(xid), []) });
const never = new AbortController().signal;

function start(maxBytes = 100) {
  const settled: string[] = [];
  const pages = new PagesInFlight({
    clock: systemClock,
    maxBytes,
    settled: ({ snapshot }) => settled.push(String(snapshot.xmax)),
  });
  const settle: (() => void)[] = [];
  const add = (xid: number, bytes = 10) =>
    pages.add(at(xid), bytes, new Promise((resolve) => settle.push(resolve)));
  return { pages, settled, settle, add };
}

test('pages are settled in the order they were read, whatever the order they are delivered in', async () => {
  const { pages, settled, settle, add } = start();
  for (const xid of [1, 2, 3, 4]) add(xid);
  settle[2]?.();
  settle[1]?.();
  await new Promise(setImmediate);
  expect(settled).toEqual([]);
  settle[0]?.();
  await new Promise(setImmediate);
  expect(settled).toEqual(['3']);
  settle[3]?.();
  await pages.empty(never);
  expect(settled).toEqual(['3', '4']);
  expect(pages.bytes).toBe(0);
});

test('reading waits while too much is in flight', async () => {
  const { pages, settle, add } = start(25);
  add(1, 20);
  await pages.room(never);
  add(2, 20);
  let room = false;
  const waiting = pages.room(never).then(() => {
    room = true;
  });
  await new Promise(setImmediate);
  expect(room).toBe(false);
  settle[0]?.();
  await waiting;
});
