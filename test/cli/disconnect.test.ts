import { once } from 'node:events';
import { expect, test } from 'vitest';
import { command, leaderOf } from '../support/process/command.ts';
import { World } from '../support/world.ts';

test('rowcast disconnect closes the connections of a term, and refuses what is none', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const client = await world.live({ userId: '42' });
  const over = once(client.socket, 'close');
  const refused = await command(['disconnect', '42'], env);
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.errors).toMatch(/A term is all, user:ID/);
  const { code, output } = await command(['disconnect', 'user:42', '--reason', 'moved'], env);
  expect(code).toBe(0);
  expect(output).toMatch(/^user:42 is disconnected by event \d+/);
  await over;
  expect(client.frames.at(-1)).toEqual({ type: 'DISCONNECT', reason: 'moved' });
});
