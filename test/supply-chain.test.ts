import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const WORKFLOWS = '.github/workflows';

test('every action of a workflow is named by its commit, and every image by its digest', async () => {
  const workflows = await Promise.all(
    (await readdir(WORKFLOWS)).map((name) => readFile(join(WORKFLOWS, name), 'utf8')),
  );
  const actions = workflows.flatMap((text) => [...text.matchAll(/uses: (\S+)/g)]);
  expect(actions.length).toBeGreaterThan(3);
  for (const [, action] of actions) expect(action).toMatch(/^[\w./-]+@[0-9a-f]{40}$/);
  const images = [
    ...(await readFile('Dockerfile', 'utf8')).matchAll(/^FROM (\S+)/gm),
    ...workflows.flatMap((text) => [...text.matchAll(/docker run (?:--\S+ )*(\S+)/g)]),
  ];
  expect(images.length).toBeGreaterThan(1);
  for (const [, image] of images) expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
});

test('the list of parts names every package of the image, and none that is not in it', async () => {
  const { stdout } = await run('npm', ['run', '-s', 'sbom'], { maxBuffer: 10_000_000 });
  const sbom = JSON.parse(stdout) as {
    bomFormat: string;
    components: { name: string; version: string }[];
  };
  expect(sbom.bomFormat).toBe('CycloneDX');
  const { packages } = JSON.parse(await readFile('package-lock.json', 'utf8')) as {
    packages: Record<string, { version: string } & Record<string, unknown>>;
  };
  const shipped = Object.entries(packages)
    .filter(([path, { dev, optional, devOptional }]) => path && !(dev || optional || devOptional))
    .map(([path, { version }]) => `${path.split('node_modules/').at(-1)} ${version}`);
  expect(shipped.length).toBeGreaterThan(50);
  expect(sbom.components.map(({ name, version }) => `${name} ${version}`).sort()).toEqual(
    [...new Set(shipped)].sort(),
  );
});
