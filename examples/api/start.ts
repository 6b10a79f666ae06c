import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { ordersServer } from './server.ts';

const JWT_SECRET = 'a secret that is long enough for HS256';

export interface Examples {
  readonly url: string;
  readonly databaseUrl: string;
  /** Ends all of it, and leaves nothing. */
  stop(): Promise<void>;
}

/** @param port of the pages; 0 for a free one */
export async function startExamples({ port }: { port: number }): Promise<Examples> {
  const folder = await mkdtemp(join(tmpdir(), 'rowcast-examples-'));
  const dev = spawn('npx', ['rowcast', 'dev', '--port', '0', '--dir', folder], {
    env: { ...process.env, JWT_SECRET },
    stdio: ['ignore', 'ignore', 'inherit'],
    // Ctrl-C reaches this process alone, which ends the other in its turn.
    detached: true,
  });
  const { databaseUrl, websocketUrl } = await urlsOf(dev, join(folder, 'dev.json'));
  await applySchema(databaseUrl);
  const server = ordersServer({ databaseUrl, websocketUrl, jwtSecret: JWT_SECRET });
  const url = `${await server.listen({ port, host: '127.0.0.1' })}/`;
  return {
    url,
    databaseUrl,
    async stop() {
      await server.close();
      process.kill(-(dev.pid as number), 'SIGINT');
      await once(dev, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function urlsOf(dev: ChildProcess, file: string) {
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text) return JSON.parse(text) as { databaseUrl: string; websocketUrl: string };
    if (dev.exitCode !== null) throw new Error('rowcast dev has ended');
    await setTimeout(50);
  }
}

async function applySchema(databaseUrl: string): Promise<void> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  await client.query(await readFile(join(import.meta.dirname, '../schema.sql'), 'utf8'));
  await client.end();
}
