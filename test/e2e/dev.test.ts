import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, unlink } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { TestClient } from '../support/client/client.ts';
import { dev, folder } from '../support/process/dev.ts';

async function insert(databaseUrl: string, content: string): Promise<string[]> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  await client.query('insert into messages (content) values ($1)', [content]);
  const { rows } = await client.query<{ content: string }>(
    'select content from messages order by id',
  );
  await client.end();
  return rows.map((row) => row.content);
}

test('one command runs the whole system, Ctrl-C leaves nothing behind, a second start has the data', async () => {
  const dir = await folder();
  const first = dev(dir, '--port', '0');
  const urls = await first.ready();
  const client = new TestClient(`${urls.websocketUrl}?userId=alice`);
  await client.ready();
  await insert(urls.databaseUrl, 'one');
  expect((await client.received(1))[0]).toMatchObject({
    type: 'NEW_MESSAGE',
    data: { content: 'one' },
  });
  await expect
    .poll(() => first.output())
    .toContain(`psql ${urls.databaseUrl} -c "insert into messages`);
  expect(await (await fetch(urls.pageUrl)).text()).toContain('<title>Rowcast</title>');
  expect(await (await fetch(`${urls.pageUrl}api/config`)).json()).toMatchObject({
    websocketUrl: urls.websocketUrl,
  });
  expect((await fetch(`${urls.healthUrl}/readyz`)).status).toBe(200);
  first.interrupt();
  expect(await first.exited).toBe(0);
  for (const url of [urls.pageUrl, urls.healthUrl, urls.managementUrl, urls.dynamodbEndpoint])
    await expect(fetch(url)).rejects.toThrow();
  await expect(insert(urls.databaseUrl, 'x')).rejects.toThrow(/ECONNREFUSED/);
  expect(existsSync(join(dir, 'dev.json'))).toBe(false);

  const second = dev(dir, '--port', '0');
  expect(await insert((await second.ready()).databaseUrl, 'two')).toEqual(['one', 'two']);
  second.interrupt();
  expect(await second.exited).toBe(0);
});

test('the relay is started again when it dies, and goes on where it was', async () => {
  const system = dev(await folder(), '--port', '0');
  const urls = await system.ready();
  const client = new TestClient(`${urls.websocketUrl}?userId=alice`);
  await client.ready();
  const admin = new pg.Client(urls.databaseUrl);
  await admin.connect();
  const { pid } = (await (await fetch(`${urls.healthUrl}/healthz`)).json()) as { pid: number };
  process.kill(pid, 'SIGKILL');
  await admin.query(`insert into messages (content) values ('while it was dead')`);
  await client.received(1);
  await admin.end();
});

test('Postgres is started again when it ends, and rows arrive as before', async () => {
  const dir = await folder();
  const system = dev(dir, '--port', '0');
  const urls = await system.ready();
  const client = new TestClient(`${urls.websocketUrl}?userId=alice`);
  await client.ready();
  const admin = new pg.Client(urls.databaseUrl);
  admin.on('error', () => undefined);
  await admin.connect();
  const { rows } = await admin.query<{ pid: string }>(
    `select split_part(pg_read_file('postmaster.pid'), E'\\n', 1) as pid`,
  );
  process.kill(Number(rows[0]?.pid), 'SIGINT');
  await expect.poll(() => system.output()).toContain('Postgres ended; see');
  await expect.poll(() => insert(urls.databaseUrl, 'after').catch(() => null)).toEqual(['after']);
  await client.frame(({ data }) => data?.content === 'after');
});

test('kill -9 leaves a folder that starts again, on the same ports', async () => {
  const dir = await folder();
  // Below the ports that the system gives to whoever asks for any.
  const port = String(10_000 + Math.floor(Math.random() * 20_000));
  const first = dev(dir, '--port', port);
  const urls = await first.ready();
  await insert(urls.databaseUrl, 'one');
  const relay = (await (await fetch(`${urls.healthUrl}/healthz`)).json()) as { pid: number };
  process.kill(Number(await readFile(join(dir, 'dev.pid'), 'utf8')), 'SIGKILL');
  await first.exited;
  await expect.poll(() => existsSync(`/proc/${relay.pid}`)).toBe(false);
  expect(existsSync(join(dir, 'dev.json'))).toBe(true);
  const second = dev(dir, '--port', port);
  await expect.poll(() => existsSync(join(dir, 'dev.json'))).toBe(false);
  expect(await second.ready()).toEqual(urls);
  expect(await insert(urls.databaseUrl, 'two')).toEqual(['one', 'two']);
});

test('ports that are taken are named, with what to do', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const system = dev(await folder(), '--port', String(port - 1));
  expect(await system.exited).toBe(1);
  expect(system.output()).toMatch(new RegExp(`port .*${port} \\(gateway\\).*--port`));
});

test('a folder is served by one system at a time', async () => {
  const dir = await folder();
  const first = dev(dir, '--port', '0');
  await first.ready();
  const json = await readFile(join(dir, 'dev.json'));
  await unlink(join(dir, 'dev.json'));
  const second = dev(dir, '--port', '0');
  expect(await second.exited).toBe(1);
  expect(second.output()).toMatch(/runs already for .* as process \d+/);
  expect(json.length).toBeGreaterThan(0);
});

test('Ctrl-C in the middle of the first start leaves a folder that starts again', async () => {
  const dir = await folder();
  const first = dev(dir, '--port', '0');
  await expect.poll(() => existsSync(join(dir, 'postgres/making'))).toBe(true);
  first.interrupt();
  await first.exited;
  const second = dev(dir, '--port', '0');
  expect(await insert((await second.ready()).databaseUrl, 'one')).toEqual(['one']);
});
