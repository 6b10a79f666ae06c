// Prints the list of parts of the image (CycloneDX): what its own install puts into node_modules.
// `npm sbom --omit dev` leaves out a package of the image that some tool of development uses too.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'rowcast-sbom-'));
const npm = (...args) =>
  execFileSync('npm', args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
try {
  for (const file of ['package.json', 'package-lock.json']) copyFileSync(file, join(folder, file));
  npm('ci', '--omit=dev', '--omit=optional', '--ignore-scripts', '--no-audit', '--prefer-offline');
  const { devDependencies, optionalDependencies, ...image } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  );
  writeFileSync(join(folder, 'package.json'), JSON.stringify(image));
  process.stdout.write(npm('sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'));
} finally {
  rmSync(folder, { recursive: true });
}
