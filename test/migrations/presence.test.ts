import { expect, test } from 'vitest';
import { databaseOfEachTest } from '../support/postgres/captured.ts';

const { sql } = databaseOfEachTest();
const watched = async () =>
  (await sql<{ term: string }>('select term from rowcast.presence_watch order by 1')).map(
    ({ term }) => term,
  );
const lease = async (name: string) =>
  (await sql<{ term: string; holder: string }>(`select * from rowcast.take_lease($1)`, [name]))[0];
const report = async (term: string, came: object[], gone: string[] = [], isWhole = true) =>
  (
    await sql<{ ok: boolean }>('select rowcast.report_online($1, $2, $3, $4) as ok', [
      term,
      JSON.stringify(came),
      gone,
      isWhole,
    ])
  )[0]?.ok;
const isOnline = async (userId: unknown) =>
  (await sql<{ it: boolean }>('select rowcast.is_online($1) as it', [userId]))[0]?.it;
const user = (user_id: string, ...rooms: string[]) => ({ user_id, rooms, connections: 1 });

test('rooms are watched by name or beginning, once each, and no longer where they are not', async () => {
  for (const term of ['room:lobby', 'room:team-*', 'room:team-*', 'room:cafe\u0301'])
    await sql('select rowcast.watch_presence($1)', [term]);
  expect(await watched()).toEqual(['room:café', 'room:lobby', 'room:team-*']);
  await sql(`select rowcast.unwatch_presence('room:café')`);
  expect(await watched()).toEqual(['room:lobby', 'room:team-*']);
  await expect(sql(`select rowcast.unwatch_presence('room:team-7')`)).rejects.toThrow(
    "the presence of 'room:team-7' is not watched",
  );
  for (const term of ['user:7', 'all', 'room:a*b'])
    await expect(sql('select rowcast.watch_presence($1)', [term])).rejects.toThrow(
      'is no room, nor the beginning',
    );
  for (const term of [null, 'lobby', '!room:a', `room:${'x'.repeat(200)}`])
    await expect(sql('select rowcast.watch_presence($1)', [term])).rejects.toThrow('rowcast: ');
});

test('who is online is what the relay that leads has said in its time, and nobody without one', async () => {
  await sql(`select rowcast.watch_presence('room:team-*')`);
  const first = await lease('a');
  const term = first?.term as string;
  expect(await report(term, [user('ann', 'team-7')], [], false)).toBe(true);
  // Not everybody was named yet.
  expect(await isOnline('ann')).toBe(false);
  expect(await report(term, [user('7', 'team-7', 'team-8')])).toBe(true);
  expect([await isOnline('ann'), await isOnline('7'), await isOnline('bob')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(
    await sql(`select rowcast.is_online(7) as it, rowcast.is_online(7::bigint) as big`),
  ).toEqual([{ it: true, big: true }]);
  expect(await sql(`select rowcast.online_in('team-7') as id order by 1`)).toEqual([
    { id: '7' },
    { id: 'ann' },
  ]);
  expect(
    await sql('select room, user_id, connections, info from rowcast.presence order by 1, 2'),
  ).toHaveLength(3);
  await report(term, [], ['7'], false);
  expect(await isOnline('7')).toBe(false);
  await sql('select rowcast.release_lease($1)', [first?.holder]);
  expect(await isOnline('ann')).toBe(false);
  expect(await sql('select from rowcast.presence')).toEqual([]);
  const next = await lease('b');
  expect([await isOnline('ann'), await report(term, [user('bob')])]).toEqual([false, false]);
  await report(next?.term as string, [user('bob')], ['ann']);
  expect([await isOnline('ann'), await isOnline('bob')]).toEqual([false, true]);
  await sql(`update rowcast.lease set until = clock_timestamp()`);
  expect(await isOnline('bob')).toBe(false);
});

test('once nothing is watched nobody is online, whatever a relay still says', async () => {
  await sql(`select rowcast.watch_presence('room:lobby')`);
  const { term = '' } = (await lease('a')) ?? {};
  await report(term, [user('ann', 'lobby')]);
  expect(await isOnline('ann')).toBe(true);
  await sql(`select rowcast.unwatch_presence('room:lobby')`);
  expect(await isOnline('ann')).toBe(false);
  await report(term, [user('ann', 'lobby')]);
  expect(await isOnline('ann')).toBe(false);
});

test('a role without a right on the schema cannot ask, and one with it sees no more than answers', async () => {
  const role = `stranger_${Math.random().toString(36).slice(2)}`;
  await sql(`create role ${role}`);
  try {
    const as = (statement: string) => sql(`set local role ${role}; ${statement}`);
    await expect(as(`select rowcast.is_online('ann')`)).rejects.toThrow('permission denied');
    await sql(`grant usage on schema rowcast to ${role}`);
    await as(`select rowcast.is_online('ann')`);
    for (const statement of [
      'select * from rowcast.presence',
      'select * from rowcast.online',
      `select rowcast.watch_presence('room:a')`,
    ])
      await expect(as(statement)).rejects.toThrow('permission denied');
  } finally {
    await sql(`revoke usage on schema rowcast from ${role}`);
    await sql(`drop role ${role}`);
  }
});

test('an id is found in whatever form its accents are written', async () => {
  await sql(`select rowcast.watch_presence('room:lobby')`);
  const { term = '' } = (await lease('a')) ?? {};
  await report(term, [user('rené', 'lobby')]);
  expect(await isOnline('rene\u0301')).toBe(true);
});
