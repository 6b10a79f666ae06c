import { expect, test } from 'vitest';
import { ReplayTurns } from '../../src/relay/replay-turns.ts';

test('a user with many connections has no more turns than one with a single connection', async () => {
  const turns = new ReplayTurns();
  const order: string[] = [];
  const wants = (userId: string, pages: number) => async () => {
    for (let page = 0; page < pages; page++) {
      const end = await turns.take([userId]);
      order.push(userId);
      await Promise.resolve();
      end();
    }
  };
  const many = Array.from({ length: 20 }, () => wants('attacker', 10)());
  await Promise.all([...many, wants('victim', 10)()]);
  expect(order).toHaveLength(210);
  // Two at a time: while it asks for its next, the others have one more.
  expect(order.lastIndexOf('victim')).toBeLessThan(35);
});

test('a turn that is ended twice frees one place', async () => {
  const turns = new ReplayTurns();
  const [first] = [await turns.take(['a']), await turns.take(['b'])];
  let began = 0;
  for (const user of ['c', 'd']) void turns.take([user]).then(() => began++);
  first?.();
  first?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(began).toBe(1);
});
