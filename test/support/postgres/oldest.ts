import { createRequire } from 'node:module';

/** Binaries of Postgres 14, installed by `npm run test:oldest`. @throws where they are missing */
export function oldestBinaries(): string {
  return createRequire(new URL('../../oldest/package.json', import.meta.url)).resolve(
    'postgres-14-linux-x64',
  );
}
