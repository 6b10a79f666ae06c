// The parts that a browser loads stay small: bundled, minified, gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** @type {[entry: string, file: string, fewerThanBytes: number][]} */
const LIMITS = [
  ['rowcast/client', 'src/client/connect.ts', 4096],
  ['rowcast/list', 'src/list/live-list.ts', 2048],
];

for (const [entry, file, fewerThanBytes] of LIMITS) {
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'warning',
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${entry}: ${bytes} bytes gzipped, of fewer than ${fewerThanBytes}`);
  if (bytes >= fewerThanBytes) process.exitCode = 1;
}
