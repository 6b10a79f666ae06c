// One file a Lambda. The AWS SDK is part of Lambda's Node runtime and stays outside.
import { build } from 'esbuild';

await build({
  entryPoints: ['src/lambdas/connect.ts', 'src/lambdas/disconnect.ts'],
  outdir: 'dist/lambdas',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  minify: true,
  treeShaking: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['@aws-sdk/*'],
  logLevel: 'warning',
});
