import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { freePort } from '../../../src/local/ports.ts';
import { temporaryFolder } from '../process/temporary-folder.ts';

/** Undefined where it is not installed. */
export const pgbouncer = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find(existsSync);

/**
 * PgBouncer as Debian ships it, in transaction mode, before one database.
 * @param ignored startup parameters that it drops; it refuses the others that it does not know
 * @returns its URL
 */
export async function startPooler(databaseUrl: string, ignored: string): Promise<string> {
  const target = new URL(databaseUrl);
  const folder = await temporaryFolder('pgbouncer');
  const port = await freePort();
  const database = target.pathname.slice(1);
  const password = decodeURIComponent(target.password);
  await writeFile(join(folder, 'users'), `"${target.username}" "${password}"\n`);
  await writeFile(
    join(folder, 'ini'),
    [
      '[databases]',
      `${database} = host=${target.hostname} port=${target.port || 5432}`,
      '[pgbouncer]',
      `listen_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =`,
      `auth_type = scram-sha-256\nauth_file = ${folder}/users\nlogfile = ${folder}/log`,
      `pool_mode = transaction\nignore_startup_parameters = ${ignored}`,
    ].join('\n'),
  );
  for (const [path, mode] of [
    [folder, 0o777],
    [join(folder, 'users'), 0o644],
    [join(folder, 'ini'), 0o644],
  ] as const)
    await chmod(path, mode);
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(pgbouncer as string, [...user, join(folder, 'ini')], { stdio: 'ignore' });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null) await once(child, 'exit');
    await rm(folder, { recursive: true, force: true });
  });
  const url = Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: String(port) });
  // It is there once somebody takes connections, whatever is then said of them.
  await expect
    .poll(async () => {
      const socket = connect(port, '127.0.0.1');
      const there = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      return there;
    })
    .toBe(true);
  return url.href;
}
