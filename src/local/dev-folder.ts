import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';

/**
 * The folder of a `rowcast dev`: its data, whose process serves it (`dev.pid`), and where its
 * services are (`dev.json`) while all of them are ready. A process that was killed leaves both
 * files; they are believed only as long as it lives.
 */
export class DevFolder {
  readonly #dir: string;

  /** @param dir as `rowcast dev --dir` */
  constructor(dir: string) {
    this.#dir = resolve(dir);
  }

  path(file: string): string {
    return join(this.#dir, file);
  }

  /** As a reader of the terminal would type it. */
  shown(file = ''): string {
    return join(relative(process.cwd(), this.#dir) || '.', file);
  }

  /** One process a folder: its data cannot be served twice. @throws where another one has it */
  async claim(): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    // Rows, tokens and passwords of a database: not for a repository.
    await writeFile(this.path('.gitignore'), '*\n', { flag: 'wx' }).catch(() => undefined);
    const pid = await this.#owner();
    if (pid !== null && pid !== process.pid)
      throw new Error(
        `rowcast dev runs already for ${this.#dir}, as process ${pid}; stop it, or choose another folder with --dir (where that process is another program: remove ${this.shown('dev.pid')})`,
      );
    await rm(this.path('dev.json'), { force: true });
    await writeFile(this.path('dev.pid'), String(process.pid));
  }

  /** Writes the file whole or not at all. */
  async publish(urls: DevUrls): Promise<void> {
    await writeFile(this.path('dev.json.new'), `${JSON.stringify(urls, null, 2)}\n`);
    await rename(this.path('dev.json.new'), this.path('dev.json'));
  }

  async release(): Promise<void> {
    await rm(this.path('dev.json'), { force: true });
    await rm(this.path('dev.pid'), { force: true });
  }

  /**
   * @returns null where there is none.
   * @throws where the file is of a process that is gone, of another version, or none of ours
   */
  async urls(): Promise<DevUrls | null> {
    const text = await readFile(this.path('dev.json'), 'utf8').catch(() => null);
    if (text === null) return null;
    const again = 'start rowcast dev again, or set DATABASE_URL';
    if ((await this.#owner()) === null)
      throw new Error(`${this.shown('dev.json')} is of a rowcast dev that was killed: ${again}`);
    try {
      const urls = JSON.parse(text) as DevUrls;
      for (const name of URLS) new URL(urls[name]);
      return urls;
    } catch {
      throw new Error(`${this.shown('dev.json')} is not that of this version: ${again}`);
    }
  }

  /** The process that serves it; null where none lives. */
  async #owner(): Promise<number | null> {
    const pid = Number(await readFile(this.path('dev.pid'), 'utf8').catch(() => 0));
    try {
      if (pid > 0) process.kill(pid, 0);
      return pid || null;
    } catch (error) {
      // Another user's.
      return (error as NodeJS.ErrnoException).code === 'EPERM' ? pid : null;
    }
  }
}

const URLS = [
  'databaseUrl',
  'websocketUrl',
  'managementUrl',
  'dynamodbEndpoint',
  'pageUrl',
  'healthUrl',
  'inspectUrl',
] as const;

/** The content of dev.json. */
export type DevUrls = Readonly<Record<(typeof URLS)[number], string>>;
