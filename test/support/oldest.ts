import { createRequire } from 'node:module';

/** Of Postgres 14, which `npm run test:oldest` installs. @throws where it has not */
export function oldestBinaries(): string {
  return createRequire(new URL('../oldest/package.json', import.meta.url)).resolve(
    'postgres-14-linux-x64',
  );
}
