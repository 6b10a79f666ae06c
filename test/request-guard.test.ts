import { expect, test } from 'vitest';
import { type Audience, refusalOf } from '../src/request-guard.ts';

const HOST = '127.0.0.1:7480';
const LETS_IN: [headers: Record<string, string>, audiences: Audience[]][] = [
  [{ host: HOST }, ['programs', 'own page', 'local pages']],
  [{ host: 'localhost:1' }, ['programs', 'own page', 'local pages']],
  [{ host: '[::1]:1' }, ['programs', 'own page', 'local pages']],
  // The user typed the address.
  [{ host: HOST, 'sec-fetch-site': 'none' }, ['programs', 'own page', 'local pages']],
  [{ host: HOST, 'sec-fetch-site': 'same-origin' }, ['own page', 'local pages']],
  [{ host: HOST, origin: `http://${HOST}` }, ['own page', 'local pages']],
  [{ host: HOST, origin: 'http://localhost:5173' }, ['local pages']],
  [{ host: HOST, 'sec-fetch-site': 'cross-site' }, ['local pages']],
  [{ host: HOST, origin: 'http://evil.test', 'sec-fetch-site': 'cross-site' }, []],
  [{ host: HOST, origin: 'null' }, []],
  [{ host: 'evil.test:7480' }, []],
  [{ host: '127.0.0.1.evil.test' }, []],
  [{}, []],
];

test.each(LETS_IN)('%j is let in by %j', (headers, audiences) => {
  for (const audience of ['programs', 'own page', 'local pages'] as const)
    expect(refusalOf(headers, audience) === null).toBe(audiences.includes(audience));
});
