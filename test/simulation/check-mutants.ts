/**
 * Proves the simulation: puts each fault of mutants.ts into a copy of the code, and expects that
 * the simulation finds it.
 *
 *     npm run simulate:mutants            all
 *     npm run simulate:mutants -- lease   those with the word in their name
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { temporaryFolder } from '../support/process/temporary-folder.ts';
import { MUTANTS, type Mutant } from './mutants.ts';

/** Here each is found within a minute; a machine under load may take longer. */
const LIMIT_MS = 180_000;
const SEEDS = 100_000;
const COPIED = ['src', 'test/simulation', 'test/support', 'package.json', 'tsconfig.json'];

async function copyOf(mutant: Mutant): Promise<string> {
  const folder = await temporaryFolder('mutant');
  for (const path of COPIED) await cp(path, join(folder, path), { recursive: true });
  await symlink(resolve('node_modules'), join(folder, 'node_modules'));
  const file = join(folder, 'src', mutant.file);
  const source = await readFile(file, 'utf8');
  if (source.split(mutant.find).length !== 2)
    throw new Error(`${mutant.file} does not have once: ${mutant.find}`);
  await writeFile(
    file,
    source.replace(mutant.find, () => mutant.replace),
  );
  return folder;
}

/** @returns the first line that says what was found; null where nothing was */
async function hunt(folder: string, fromSeed: number): Promise<string | null> {
  const simulation = spawn(
    process.execPath,
    [
      ...['--import', 'tsx', 'test/simulation/simulate.ts'],
      ...['--seed', String(fromSeed), '--seeds', String(SEEDS), '--first'],
    ],
    { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  simulation.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const late = setTimeout(() => simulation.kill(), LIMIT_MS);
  const [code] = (await once(simulation, 'exit')) as [number | null];
  clearTimeout(late);
  return code === 1 ? (output.split('\n')[0] ?? '') : null;
}

const word = process.argv[2] ?? '';
let survivors = 0;
for (const mutant of MUTANTS.filter(({ name }) => name.includes(word))) {
  const began = performance.now();
  const folder = await copyOf(mutant);
  const found = await hunt(folder, mutant.fromSeed ?? 1);
  await rm(folder, { recursive: true, force: true });
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  if (found === null) survivors++;
  const verdict = found === null ? 'NOT FOUND' : `found in ${seconds} s: ${found.slice(0, 100)}`;
  process.stdout.write(`${mutant.name}\n    ${verdict}\n`);
}
process.exitCode = survivors === 0 ? 0 : 1;
