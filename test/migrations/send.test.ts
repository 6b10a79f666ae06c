import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql, client } = databaseOfEachTest();
const events = () => sql('select type, audience, data::text from rowcast.event order by id');

test('send() and its short forms, with ids of any type', async () => {
  const calls: [call: string, audience: string[]][] = [
    [`send('x', '{"n": 1.0}')`, ['all']],
    [`send('x', '{"n": 1.0}', '{user:1,room:a b}')`, ['user:1', 'room:a b']],
    [`broadcast('x', '{"n": 1.0}')`, ['all']],
    [`send_to_user('bob', 'x', '{"n": 1.0}')`, ['user:bob']],
    [`send_to_user(42, 'x', '{"n": 1.0}')`, ['user:42']],
    [`send_to_user(9007199254740993, 'x', '{"n": 1.0}')`, ['user:9007199254740993']],
    [
      `send_to_user('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'x', '{"n": 1.0}')`,
      ['user:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ],
    [`send_to_user('bob'::varchar, 'x', '{"n": 1.0}')`, ['user:bob']],
    [`send_to_room('lobby', 'x', '{"n": 1.0}')`, ['room:lobby']],
    [`send_to_room(7, 'x', '{"n": 1.0}')`, ['room:7']],
    [`send_to_role('admin', 'x', '{"n": 1.0}')`, ['role:admin']],
    [`send('x', '{"n": 1.0}', '{all,!user:1}')`, ['all', '!user:1']],
    [`send_to_connection('L0SM9cOFvHcCIhw=', 'x', '{"n": 1.0}')`, ['connection:L0SM9cOFvHcCIhw=']],
  ];
  for (const [n, [call]] of calls.entries())
    expect(await sql(`select rowcast.${call} as id`)).toEqual([{ id: String(n + 1) }]);
  expect(await events()).toEqual(
    calls.map(([, audience]) => ({ type: 'x', audience, data: '{"n": 1.0}' })),
  );
});

test('parameters of a driver need no cast, and NULL is data', async () => {
  await sql('select rowcast.send($1, $2, $3)', ['x', '{"a":1}', ['all']]);
  await sql('select rowcast.send_to_user($1, $2, $3)', ['bob', 'x', null]);
  expect(await events()).toEqual([
    { type: 'x', audience: ['all'], data: '{"a":1}' },
    { type: 'x', audience: ['user:bob'], data: null },
  ]);
});

test.each([
  [`send('two words', '1')`, /type is 'two words'/],
  [`send('', '1')`, /type is ''/],
  [`send(null, '1')`, /type is NULL/],
  [`send(repeat('x', 101), '1')`, /type is 'x+'/],
  [`send(E'line\\nbreak', '1')`, /type is/],
  [`send('READY', '1')`, /type READY is Rowcast's own/],
  [`send('pong', '1')`, /type pong is Rowcast's own/],
  [`send('x', '1', '{user:}')`, /'user:' is not an audience term/],
  [`send('x', '1', '{}')`, /audience is empty/],
  [`send('x', '1', '{all,!all}')`, /'!all' is not an audience term/],
  [`send('x', '1', '{!user:1}')`, /audience {!user:1} leaves out, and reaches nobody/],
  [`send('x', '1', null)`, /audience is empty/],
  [`send('x', '1', array['user:' || repeat('x', 300)])`, /longer than 200 bytes/],
  [`send('x', to_json(repeat('x', 131072)))`, /131074 bytes of data fit no message/],
  [`send_to_user(null, 'x', '1')`, /no user was given/],
  [`send_to_user(null::int, 'x', '1')`, /no user was given/],
  [`send_to_room('', 'x', '1')`, /no room was given/],
])('%s is refused with what is wrong and a hint, and nothing is sent', async (call, message) => {
  const failure = await sql(`select rowcast.${call}`).catch(
    (error: unknown) => error as Error & { hint?: string },
  );
  expect((failure as Error).message).toMatch(message);
  expect((failure as { hint?: string }).hint).toBeTruthy();
  expect(await events()).toEqual([]);
});

test('a role that may use the schema may send, and nothing else', async () => {
  const app = `app_${Math.random().toString(36).slice(2)}`;
  const session = await client();
  await session.query(`create role ${app}`);
  try {
    await session.query(`set role ${app}`);
    await expect(session.query(`select rowcast.broadcast('x', '1')`)).rejects.toThrow(
      /permission denied for schema/,
    );
    await session.query('reset role');
    await session.query(`grant usage on schema rowcast to ${app}`);
    await session.query(`set role ${app}`);
    await session.query(`select rowcast.send_to_room('lobby', 'x', '1')`);
    for (const forbidden of [
      'select from rowcast.event',
      'select from rowcast.watched',
      `insert into rowcast.event (type, audience) values ('x', '{all}')`,
      `select rowcast.watch('messages')`,
      'select rowcast.adopt()',
    ])
      await expect(session.query(forbidden)).rejects.toThrow(/permission denied|must be owner/);
  } finally {
    await session.query('reset role');
    await session.query(`drop owned by ${app}`);
    await session.query(`drop role ${app}`);
    session.release();
  }
  expect(await events()).toEqual([{ type: 'x', audience: ['room:lobby'], data: '1' }]);
});
