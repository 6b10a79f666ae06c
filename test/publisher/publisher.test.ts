import * as v from 'valibot';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { Publisher } from '../../src/publisher/publisher.ts';
import { TestDatabase } from '../support/postgres/database.ts';

interface Messages {
  upload_progress: { percent: number; unit?: string | undefined };
  notification: { text: string };
  nothing: null;
}

let database: TestDatabase;
beforeEach(async () => {
  database = await TestDatabase.create();
  onTestFinished(() => database.close());
});

const pool = {
  query: async (text: string, values: unknown[]) => ({ rows: await database.sql(text, values) }),
};
const events = () =>
  database.sql('select id, type, audience, data::text from rowcast.event order by id');

test('each form addresses whom it says, and resolves with the id of the event', async () => {
  const sender = new Publisher<Messages>().through(pool);
  const text = { text: 'a "b" 🚀' };
  const ids = [
    await sender.send('notification', text, ['user:1', 'room:a']),
    await sender.broadcast('nothing', null),
    await sender.sendToUser(9007199254740993n, 'notification', text),
    await sender.sendToRoom(7, 'notification', text),
    await sender.sendToRole('admin', 'notification', text),
    await sender.sendToConnection('abc=', 'upload_progress', { percent: 1 }),
  ];
  const data = '{"text":"a \\"b\\" 🚀"}';
  expect(await events()).toEqual([
    { id: ids[0], type: 'notification', audience: ['user:1', 'room:a'], data },
    { id: ids[1], type: 'nothing', audience: ['all'], data: 'null' },
    { id: ids[2], type: 'notification', audience: ['user:9007199254740993'], data },
    { id: ids[3], type: 'notification', audience: ['room:7'], data },
    { id: ids[4], type: 'notification', audience: ['role:admin'], data },
    { id: ids[5], type: 'upload_progress', audience: ['connection:abc='], data: '{"percent":1}' },
  ]);
});

test('a message of a transaction that is rolled back was never sent', async () => {
  const client = await database.client();
  const sender = new Publisher<Messages>().through(client);
  await client.query('begin');
  await sender.broadcast('notification', { text: 'undone' });
  await client.query('rollback');
  await client.query('begin');
  await sender.broadcast('notification', { text: 'kept' });
  await client.query('commit');
  client.release();
  expect(await events()).toMatchObject([{ data: '{"text":"kept"}' }]);
});

test('any Standard Schema checks the data of its type; what it makes of it is sent', async () => {
  const sender = new Publisher<Messages>({
    schemas: {
      upload_progress: z.object({ percent: z.number().max(100), unit: z.string().default('%') }),
      notification: v.pipeAsync(
        v.objectAsync({ text: v.pipe(v.string(), v.minLength(1)) }),
        v.checkAsync(async ({ text }) => text !== 'spam', 'is spam'),
      ),
    },
  }).through(pool);
  await sender.broadcast('upload_progress', { percent: 80 });
  await expect(sender.broadcast('upload_progress', { percent: 101 })).rejects.toThrow(
    /"upload_progress" was not sent: percent: /,
  );
  await expect(sender.broadcast('notification', { text: '' })).rejects.toThrow(
    /"notification" was not sent: text: /,
  );
  await expect(sender.broadcast('notification', { text: 'spam' })).rejects.toMatchObject({
    name: 'PublishError',
    type: 'notification',
    message: expect.stringContaining('is spam'),
  });
  await sender.broadcast('nothing', null);
  expect(await events()).toMatchObject([
    { data: '{"percent":80,"unit":"%"}' },
    { type: 'nothing' },
  ]);
});

test('a schema that throws is a PublishError', async () => {
  const failing = z.object({ text: z.string() }).transform(() => {
    throw new Error('schema bug');
  });
  const sender = new Publisher<Messages>({ schemas: { notification: failing } }).through(pool);
  await expect(sender.broadcast('notification', { text: 'x' })).rejects.toMatchObject({
    name: 'PublishError',
    message: expect.stringContaining('schema bug'),
  });
  expect(await events()).toEqual([]);
});

test('data that is no JSON, and a missing name, are refused before anything is sent', async () => {
  const sender = new Publisher().through(pool);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  await expect(sender.broadcast('x', undefined)).rejects.toThrow(
    /"x" was not sent: it is not JSON/,
  );
  await expect(sender.broadcast('x', circular)).rejects.toThrow(/circular/);
  await expect(sender.broadcast('x', { n: 1n })).rejects.toThrow(/BigInt/);
  for (const missing of ['', undefined, null, {}, Number.NaN, 1e21, 1.5] as string[])
    await expect(sender.sendToUser(missing, 'x', 1)).rejects.toThrow(
      /no user was given to send to/,
    );
  await expect(sender.send('two words', 1, ['all'])).rejects.toMatchObject({
    hint: expect.any(String),
  });
  expect(await events()).toEqual([]);
});

test('types and data are those of the map', () => {
  const sender = new Publisher<Messages>().through(pool);
  // Never called: the compiler checks it (npm run check:types).
  const wrong = () => {
    // @ts-expect-error a type that is not in the map
    void sender.broadcast('uploadProgress', { percent: 1 });
    // @ts-expect-error data of another type
    void sender.sendToUser('42', 'upload_progress', { text: 'x' });
    // @ts-expect-error a schema that takes something else
    new Publisher<Messages>({ schemas: { notification: z.object({ words: z.string() }) } });
  };
  expect(wrong).toBeTypeOf('function');
});
