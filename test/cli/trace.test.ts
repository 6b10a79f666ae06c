import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { Trace } from '../../src/cli/trace-screen.ts';
import { command, leaderOf } from '../support/process/command.ts';
import { World } from '../support/world.ts';

async function send(world: World, sql: string): Promise<string> {
  const [row] = await world.sql<{ id: string }>(`select ${sql}::text as id`);
  return row?.id as string;
}

test('trace tells whom an event reached, by which term, when and how', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  const ada = await world.live({ userId: 'ada', rooms: 'lobby' });
  const bob = await world.live({ userId: 'bob', rooms: 'lobby' });
  await world.live({ userId: 'eve' });
  const id = await send(world, `rowcast.send('note', '{"secret": 1}', '{user:ada,room:lobby}')`);
  await Promise.all([ada.received(1), bob.received(1)]);
  const { code, output } = await command(['trace', id], env);
  expect(code).toBe(0);
  expect(output).toMatch(/^Event 1 {2}note/);
  expect(output).toMatch(
    /^captured +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z from rowcast\.send\(\), 13 B, transaction \d+$/m,
  );
  expect(output).toMatch(/^audience +user:ada, room:lobby$/m);
  expect(output).toMatch(/^read .*for 2 of 3 connections$/m);
  expect(output).toMatch(/^outcome +2 delivered$/m);
  expect(output.replaceAll(/\s+/g, ' ')).toMatch(
    /✓ \S+ of ada, by user:ada, room:lobby: \S+ delivered in \d+ ms/,
  );
  expect(output).toMatch(/✓ \S+ of bob, by room:lobby/);
  expect(output).not.toMatch(/\beve\b|secret/);
  await expect
    .poll(async () => (await command(['trace', id], env)).output)
    .toMatch(/cursor +✓ has passed it/);
});

test('trace tells why nobody got an event', async () => {
  const world = await World.start();
  const { env } = await leaderOf(world);
  await world.live({ userId: 'ada' });
  const id = await send(world, `rowcast.send_to_user('Ada', 'note', '1')`);
  await expect
    .poll(async () => (await command(['trace', id], env)).output.replaceAll(/\s+/g, ' '))
    .toMatch(/for nobody: 1 connection known then, and none of them is user:Ada/);
  await world.sql('alter table complaints disable trigger "!rowcast_update"');
  await world.sql('delete from rowcast.event where id = $1', [id]);
  await world.sql(`select rowcast.broadcast('later', '1')`);
  const removed = await command(['trace', id], env);
  expect(removed.code).toBe(1);
  expect(removed.output.replaceAll(/\s+/g, ' ')).toMatch(
    /no event 1: its transaction was rolled back or is still open, or retention has removed it.* Not captured now: complaints: a trigger of public\.complaints is missing or disabled/,
  );
  expect((await command(['trace', '77'], env)).output).toMatch(
    /✗ no event 77 yet: the newest is 2/,
  );
  expect(await command(['trace', '99999999999999999999'], env)).toMatchObject({
    code: 1,
    errors: expect.stringMatching(/not the id of an event/),
  });
});

test('trace tells what an event waits for, with what the gateway answered', async () => {
  const world = await World.start();
  const { env, daemon } = await leaderOf(world);
  await world.live({ userId: 'ada' });
  world.posts.fault = () => ({ status: 503 });
  const id = await send(world, `rowcast.send_to_user('ada', 'note', '1')`);
  await daemon.logged('post_failed');
  const { relay, event } = JSON.parse(
    (await command(['trace', id, '--json'], env)).output,
  ) as Trace;
  expect(event).toMatchObject({ type: 'note', delivered: false, audience: ['user:ada'] });
  expect(relay?.deliveries).toEqual([
    expect.objectContaining({
      userId: 'ada',
      waiting: true,
      attempts: expect.arrayContaining([
        expect.objectContaining({
          outcome: expect.objectContaining({ kind: 'failed', status: 503 }),
        }),
      ]),
    }),
  ]);
  const screen = (await command(['trace', id], env)).output.replaceAll(/\s+/g, ' ');
  expect(screen).toMatch(/has not passed it: 1 event waits/);
  expect(screen).toMatch(
    /… \S+ of ada, by user:ada: .*failed 503 \(InternalFailure.*; \S+ failed 503 .*waits for its next try/,
  );
});

test('trace beside no relay, or beside one that does not lead, says where to ask', async () => {
  const world = await World.start();
  const relay = await world.relay();
  const standby = await leaderOf(world);
  const client = await world.live();
  const committed = once(relay, 'committed');
  await world.sql(`insert into messages (content) values ('row')`);
  await client.received(1);
  await committed;
  const [beside, alone] = await Promise.all([
    command(['trace', '1'], standby.env),
    command(['trace', '1'], { ...world.environment(), ROWCAST_INSPECT_PORT: '1' }),
  ]);
  expect(beside.output.replaceAll(/\s+/g, ' ')).toMatch(
    /does not lead \(standby\), and delivers nothing: ask the leader/,
  );
  expect(alone.output).toMatch(/from public\.messages/);
  expect(alone.output.replaceAll(/\s+/g, ' ')).toMatch(
    /none answers at 127\.0\.0\.1:1: whom it reached is known to the relay alone/,
  );
});

test("trace does not take for its own what an earlier relay delivered, nor another database's relay, nor another program", async () => {
  const [world, other] = await Promise.all([World.start(), World.start()]);
  const before = await leaderOf(world);
  const client = await world.live();
  const id = await send(world, `rowcast.broadcast('note', '1')`);
  await client.received(1);
  before.daemon.process.kill('SIGTERM');
  await before.daemon.exited;
  const after = await leaderOf(world);
  const output = (await command(['trace', id], after.env)).output.replaceAll(/\s+/g, ' ');
  expect(output).toMatch(/✓ has passed it.*remembers since .*another relay's/);
  const elsewhere = await leaderOf(other);
  const port = { ROWCAST_INSPECT_PORT: elsewhere.env.ROWCAST_INSPECT_PORT as string };
  expect((await command(['trace', id], { ...after.env, ...port })).output).toMatch(
    /relay +none answers at/,
  );
  const program = createServer((_, response) => response.end('{"posts": 1}')).listen(
    0,
    '127.0.0.1',
  );
  onTestFinished(() => void program.close());
  await once(program, 'listening');
  const taken = { ROWCAST_INSPECT_PORT: String((program.address() as AddressInfo).port) };
  for (const args of [['trace', id], ['status']])
    expect(await command(args, { ...after.env, ...taken })).toMatchObject({
      code: 0,
      output: expect.stringMatching(/none answers at/),
    });
});

test('trace and tail print what others wrote without what would move the cursor', async () => {
  const world = await World.start();
  const id = await send(
    world,
    `rowcast.send('note', '1', array['user:' || chr(27) || '[2Jevil' || chr(8238)])`,
  );
  const { output } = await command(['trace', id], world.environment());
  expect(output).toContain('user:\\u001b[2Jevil\\u202e');
});
