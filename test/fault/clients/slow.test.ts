import { once } from 'node:events';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { expect, test } from 'vitest';
import { contents, numbers } from '../../support/client/contents.ts';
import { World } from '../../support/world.ts';

test('a connection that falls behind again before it has caught up has everything after a takeover', async () => {
  const world = await World.start();
  const relay = await world.relay({ maxBytesInFlight: 20_000 });
  const [one, two, slow] = await Promise.all([
    world.live(),
    world.live(),
    world.live({ userId: 'slow' }),
  ]);
  const posts = await world.hold('slow');
  for (const round of [1, 2]) {
    // Ready is its replay: the next round finds it live, and what was replayed still waiting.
    const shed = Promise.all([once(relay, 'behind'), once(relay, 'ready')]);
    await world.sql(
      `insert into messages (content) select n::text from generate_series($1::int, $2) n`,
      [round * 4 - 3, round * 4],
    );
    await Promise.all([one, two].map((client) => client.received(round * 4)));
    await shed;
  }
  // It hears READY of its first replay; the second is still to come.
  while (slow.frames.filter(({ type }) => type === 'READY').length < 2) await posts.passOne();
  await relay.stop();
  world.heal();
  await world.relay();
  await slow.received(8);
  expect([...new Set(contents(slow.events))]).toEqual(numbers(8));
});

test('a connection whose item is changed while something waits for it gets everything that it may hear now', async () => {
  const world = await World.start();
  const daemon = world.daemon();
  await daemon.logged('leading');
  const client = await world.live({ userId: 'ann' });
  const connectionId = await world.idOf('ann');
  const posts = await world.hold('ann');
  await world.sql(`insert into messages (content) values ('waiting')`);
  await posts.held(1);
  await world.table.client.send(
    new UpdateCommand({
      TableName: world.table.table,
      Key: { connectionId },
      UpdateExpression: 'set rooms = :rooms',
      ExpressionAttributeValues: { ':rooms': new Set(['lobby']) },
    }),
  );
  // The lane of what it is now posts, too.
  await posts.held(2);
  await world.sql(`select rowcast.send_to_room('lobby', 'note', '"for the room"')`);
  await daemon.kill();
  world.heal();
  await world.relay();
  await client.frame(({ data }) => data?.content === 'waiting');
  await client.frame(({ type }) => type === 'note');
});
