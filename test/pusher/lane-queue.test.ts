import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Lane } from '../../src/pusher/lane.ts';
import { LaneQueue } from '../../src/pusher/lane-queue.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function ready(): Lane {
  const lane = new Lane(
    { connectionId: 'x', connectedAt: 0, userId: 'x', ttl: 0, batch: false },
    systemClock,
  );
  lane.state = 'ready';
  return lane;
}

test('a queue in which somebody always waits lets go of the lanes that had their turn', async () => {
  const turns = new LaneQueue();
  const first = new WeakRef(ready());
  turns.push(first.deref() as Lane);
  for (let n = 0; n < 25_000; n++) {
    turns.push(ready());
    expect(turns.next()).toBeDefined();
  }
  // The target of a WeakRef stays until the turn of the event loop is over.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(first.deref()).toBeUndefined();
});
