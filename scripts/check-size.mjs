// The browser client is under 4 KB as a browser loads it: bundled, minified, gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const MAX_BYTES = 4096;

const { outputFiles } = await build({
  entryPoints: ['src/client/connect.ts'],
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  write: false,
  logLevel: 'warning',
});
const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`rowcast/client: ${bytes} bytes gzipped, of at most ${MAX_BYTES}`);
if (bytes >= MAX_BYTES) process.exit(1);
