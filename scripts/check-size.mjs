// The parts that a browser loads stay small: bundled, minified, gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/**
 * With all that they import, but for what the others of this list bring.
 * @type {[entry: string, file: string, fewerThanBytes: number, without?: string[]][]}
 */
const LIMITS = [
  ['rowcast/client', 'src/client/connect.ts', 5120],
  ['rowcast/list', 'src/list/live-list.ts', 2048, ['*/listeners.ts']],
  ['rowcast/react', 'src/react/react.ts', 2048, ['react', '*/connect.ts', '*/live-list.ts']],
  ['rowcast/tanstack-db', 'src/tanstack/collection.ts', 2048, ['*/live-list.ts']],
  ['rowcast/react-query', 'src/tanstack/query.ts', 2048, ['*/live-list.ts']],
];

for (const [entry, file, fewerThanBytes, external = []] of LIMITS) {
  const { outputFiles } = await build({
    entryPoints: [file],
    external,
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
