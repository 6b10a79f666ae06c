import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

const event = (writer: number, number: number, audience: string[], certain = true) => ({
  writer,
  number,
  audience,
  begunAt: 10,
  xid: 7n,
  certain,
});
const client = (received: string[], more = {}) => ({
  name: 'c',
  terms: new Set(['all', 'user:c']),
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
