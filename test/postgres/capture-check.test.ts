import { once } from 'node:events';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { CaptureCheck } from '../../src/postgres/capture-check.ts';
import { TestDatabase } from '../support/postgres/database.ts';

test('a table that is no longer captured is reported once, and again when it is repaired', async () => {
  const database = await TestDatabase.create();
  onTestFinished(() => database.close());
  const logged: unknown[] = [];
  const check = new CaptureCheck({
    database: { connectionString: database.url },
    intervalMs: 20,
    log: pino({ base: null }, { write: (line: string) => logged.push(JSON.parse(line)) }),
  });
  onTestFinished(() => check.stop());
  check.start();
  expect(await once(check, 'checked')).toEqual([[]]);
  await database.sql('alter table messages disable trigger "!rowcast_insert"');
  await expect.poll(async () => (await once(check, 'checked'))[0]).toEqual(['messages']);
  await once(check, 'checked');
  expect(logged).toEqual([
    expect.objectContaining({
      level: 50,
      event: 'capture_broken',
      table: 'messages',
      problem: expect.stringMatching(/missing or disabled; select rowcast\.rewatch\('messages'\)/),
    }),
  ]);
  await database.sql(`select rowcast.rewatch('messages')`);
  await expect.poll(async () => (await once(check, 'checked'))[0]).toEqual([]);
  expect(logged.at(-1)).toMatchObject({ event: 'capture_mended', table: 'messages' });
});
