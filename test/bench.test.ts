import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('a benchmark ends with one line of JSON, with the ratios to each baseline', async () => {
  const args = ['--import', 'tsx', 'bench/main.ts', 'fanout', '--quick', '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const last = JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, unknown>;
  expect(last).toMatchObject({
    bench: 'fanout',
    ratios: {
      sdkDefault: expect.any(Number),
      sdkTuned: expect.any(Number),
      ceiling: expect.any(Number),
    },
  });
});

test('an unknown benchmark is refused with the names there are', async () => {
  const failure = promisify(execFile)(process.execPath, [
    '--import',
    'tsx',
    'bench/main.ts',
    'nonsense',
  ]);
  await expect(failure).rejects.toThrow(/Allowed choices are fanout, writers/);
});
