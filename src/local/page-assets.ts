import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Asset {
  readonly content: string | Uint8Array;
  readonly type: string;
}

/** Where `npm run build` puts the page, seen from dist/local/. */
const BUILT = fileURLToPath(new URL('../page', import.meta.url));
const SOURCES = fileURLToPath(new URL('./page', import.meta.url));

/**
 * The page's files by path: as they were shipped, or built now, in memory, where this runs from its
 * sources.
 */
export async function pageAssets(): Promise<ReadonlyMap<string, Asset>> {
  const files = existsSync(BUILT) ? await readBuilt() : await buildNow();
  return new Map(
    files.map(([path, content]) => [path, { content, type: TYPES[extname(path)] ?? 'text/plain' }]),
  );
}

type File = readonly [path: string, content: string | Uint8Array];

async function readBuilt(): Promise<File[]> {
  const entries = await readdir(BUILT, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    paths.map(async (path) => [path.slice(BUILT.length + 1), await readFile(path)] as const),
  );
}

async function buildNow(): Promise<File[]> {
  const { build } = await import('vite');
  const result = await build({ root: SOURCES, logLevel: 'warn', build: { write: false } });
  if (!('output' in result)) throw new Error('the page was not built');
  return result.output.map(
    (file) => [file.fileName, file.type === 'chunk' ? file.code : file.source] as const,
  );
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
