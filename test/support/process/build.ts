import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The file that a build writes last. */
const LAST = 'dist/page/index.html';
const FROM = ['src', 'scripts', 'package.json', 'tsconfig.json', 'tsconfig.build.json'];

/** Builds the project where its sources are younger than what was built last. */
export async function build(): Promise<void> {
  const builtAtMs = await stat(LAST).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  const changedAtMs = Math.max(...(await Promise.all(FROM.map(youngest))));
  if (changedAtMs > builtAtMs) await promisify(execFile)('npm', ['run', '-s', 'build']);
}

async function youngest(path: string): Promise<number> {
  const found = await stat(path);
  if (!found.isDirectory()) return found.mtimeMs;
  const files = await readdir(path, { recursive: true });
  const times = await Promise.all(
    files.map(async (file) => (await stat(join(path, file))).mtimeMs),
  );
  return Math.max(found.mtimeMs, ...times);
}
