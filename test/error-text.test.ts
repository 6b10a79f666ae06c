import { ResourceNotFoundException } from '@aws-sdk/client-dynamodb';
import { expect, test } from 'vitest';
import { errorText } from '../src/error-text.ts';

const refused = (address: string) => new Error(`connect ECONNREFUSED ${address}`);

test.each<[string, unknown, string]>([
  ['a message, without the name of its class', new TypeError('no'), 'no'],
  ['the name where there is no message', new RangeError(), 'RangeError'],
  ['what is no error', 'gone', 'gone'],
  [
    'each address of a host that refuses at all of them, which Node leaves without a message',
    new AggregateError([refused('::1:5432'), refused('127.0.0.1:5432')]),
    'connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432',
  ],
  [
    'its causes, with what Postgres advises',
    new Error('cannot start', {
      cause: Object.assign(new Error('too many clients'), { hint: 'wait' }),
    }),
    'cannot start: too many clients (wait)',
  ],
  [
    'an exception of AWS with its name',
    new ResourceNotFoundException({ message: 'Requested resource not found', $metadata: {} }),
    'ResourceNotFoundException: Requested resource not found',
  ],
])('an error is told in one line: %s', (_, error, text) => {
  expect(errorText(error)).toBe(text);
});
