import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

const event = (writer: number, number: number, audience: string[], certain = true) => ({
  writer,
  number,
  audience,
  begunAt: 10,
  askedAt: 11,
  answeredAt: 12,
  xid: 7n,
  certain,
});
const client = (received: string[], more = {}) => ({
  name: 'c',
  terms: new Set(['all', 'user:c']),
  stays: [],
  joins: false,
  readyAt: 5,
  received,
  repeats: 0,
  stale: [],
  ...more,
});

function judge(received: string[], more = {}) {
  const ledger = new Ledger();
  ledger.events.set('a', event(0, 0, ['all']));
  ledger.events.set('b', event(0, 1, ['user:c']));
  ledger.events.set('secret', event(1, 0, ['user:d']));
  ledger.events.set('maybe', event(1, 1, ['all'], false));
  ledger.clients.push(client(received, more));
  return ledger.judge();
}

test('right settings pass', () => {
  expect(judge(['a', 'b'])).toEqual({
    due: 2,
    lost: [],
    outOfOrder: [],
    outside: [],
    stale: [],
    duplicates: 0,
  });
  expect(judge(['maybe', 'a', 'b'], { repeats: 3 })).toMatchObject({ lost: [], duplicates: 3 });
  expect(judge([], { readyAt: 20 })).toMatchObject({ due: 0, lost: [] });
});

test('wrong settings are found', () => {
  expect(judge(['a']).lost).toEqual(['c b']);
  expect(judge(['b', 'a']).outOfOrder).toEqual(['c a']);
  expect(judge(['a', 'b', 'secret']).outside).toEqual(['c secret']);
  expect(judge(['a', 'b'], { stale: ['b'] }).stale).toEqual(['c b']);
});

test('who was in the room by the table as an event was committed may have it, and must where it still is', () => {
  const stay = (joinedAt: number, leftAt = Infinity) => ({
    joinAskedAt: joinedAt - 0.1,
    joinedAt,
    leaveAskedAt: leftAt - 0.1,
    leftAt,
  });
  const judged = (received: string[], ...stays: object[]) => {
    const ledger = new Ledger();
    ledger.events.set('m', event(0, 0, ['room:members']));
    ledger.clients.push(client(received, { stays }));
    const { lost, outside } = ledger.judge();
    return { lost, outside };
  };
  const good = { lost: [], outside: [] };
  expect(judged(['m'], stay(1))).toEqual(good);
  expect(judged([], stay(1))).toEqual({ ...good, lost: ['c m'] });
  expect(judged([], stay(1, 13), stay(14))).toEqual(good);
  expect(judged(['m'], stay(1, 11.5))).toEqual(good);
  expect(judged(['m'], stay(1, 10.5))).toEqual({ ...good, outside: ['c m'] });
  expect(judged(['m'], stay(13))).toEqual({ ...good, outside: ['c m'] });
});
