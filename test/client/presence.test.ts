import { expect, test } from 'vitest';
import { type Frame, framesOf } from '../../src/client/frames.ts';
import { Presence } from '../../src/client/presence.ts';
import {
  presenceChangeFrame,
  presenceCountFrame,
  presenceFrame,
} from '../../src/protocol/frame.ts';

function told() {
  let asked = 0;
  const presence = new Presence(() => asked++);
  const hear = (...frames: string[]) => {
    for (const text of frames)
      for (const frame of framesOf(text, false)) presence.receive(frame as Frame);
    const { users, count } = presence.of('r').state;
    return `${[...users].map(([id, { n, info }]) => `${id} ${n} ${JSON.stringify(info)}`).join(', ')}; ${count}; asked ${asked}`;
  };
  return { presence, hear };
}
const user = (userId: string, connections = 1, info?: string) => ({ userId, connections, info });

test('changes follow one another by number, and a repeat changes nothing', () => {
  const { hear } = told();
  expect(hear(presenceFrame('r', 7, [user('ann', 2, '{"name":"Ann"}')]))).toBe(
    'ann 2 {"name":"Ann"}; 1; asked 0',
  );
  const joined = presenceChangeFrame('r', 8, [user('__proto__')], ['ann']);
  const after = '__proto__ 1 undefined; 1; asked 0';
  expect(hear(joined)).toBe(after);
  expect(hear(joined)).toBe(after);
  expect(hear(presenceChangeFrame('other', 1, [user('x')], []))).toBe(after);
});

test('after a frame that was missed nothing is believed, all of it is asked for, and that counts', () => {
  const { hear } = told();
  hear(presenceFrame('r', 7, [user('ann')]));
  expect(hear(presenceChangeFrame('r', 9, [user('bob')], []))).toBe('ann 1 undefined; 1; asked 1');
  // Another leader counts from another number, which may be smaller where clocks differ.
  expect(hear(presenceFrame('r', 3, [user('cid')]))).toBe('cid 1 undefined; 1; asked 1');
  expect(hear(presenceChangeFrame('r', 4, [user('dan')], ['cid']))).toBe(
    'dan 1 undefined; 1; asked 1',
  );
});

test('a room of too many is a number, and another state each time that it changes', () => {
  const { hear, presence } = told();
  const states: unknown[] = [];
  presence.of('r').subscribe((state) => states.push(state));
  hear(presenceFrame('r', 1, [user('ann')]));
  expect(hear(presenceCountFrame('r', 2, 501))).toBe('; 501; asked 0');
  expect(new Set(states).size).toBe(2);
});
