import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { SignJWT } from 'jose';
import ts from 'typescript';
import { expect, onTestFinished, test } from 'vitest';
import { type Document, openDocument } from '../support/client/dom.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';
import { World } from '../support/world.ts';

interface Example {
  /** The document, and the last heading before it. */
  readonly under: string;
  readonly language: 'js' | 'ts' | 'tsx';
  readonly code: string;
}

async function examplesOf(document: string): Promise<Example[]> {
  const text = await readFile(new URL(`../../docs/${document}.md`, import.meta.url), 'utf8');
  return [...text.matchAll(/```(jsx?|tsx?)\n(.*?)```/gs)].map(([, language, code], n, all) => ({
    under: `${document}: ${text
      .slice(0, all[n]?.index)
      .match(/^#+ (.*)$/gm)
      ?.at(-1)
      ?.replace(/^#+ /, '')}`,
    language: language as Example['language'],
    code: code as string,
  }));
}

const examples = [...(await examplesOf('client')), ...(await examplesOf('lists'))];
const example = (under: string) =>
  examples.find((each) => each.under === under)?.code ?? `throw new Error('there is no ${under}')`;

const SOURCES = {
  'rowcast/client': resolve('src/client/connect.ts'),
  'rowcast/list': resolve('src/list/live-list.ts'),
  'rowcast/react': resolve('src/react/react.ts'),
  'rowcast/react-query': resolve('src/tanstack/query.ts'),
  'rowcast/tanstack-db': resolve('src/tanstack/collection.ts'),
  'rowcast/testing': resolve('src/testing/fake-feed.ts'),
};

const secret = new TextEncoder().encode('a secret that is long enough for HS256');

/** As docs/lists.md has it. */
const LIST = `select coalesce(json_agg(m), '[]') as rows, rowcast.snapshot() as cursor from messages m`;

/** An application around an example: its database, its API, its page. */
async function application() {
  const world = await World.start({
    auth: { mode: 'jwt', key: { secret }, rolesClaim: 'roles', roomsClaim: 'rooms' },
  });
  let relay = await world.relay();
  let answering: Promise<unknown> = Promise.resolve();
  let failing = 0;
  const server = createServer(async (request, response) => {
    if (request.url === '/api/token') {
      const token = new SignJWT()
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject('alice')
        .setExpirationTime('1h');
      response.end(await token.sign(secret));
      return;
    }
    const list = await world.sql<{ rows: unknown[]; cursor: string }>(LIST);
    if (failing-- > 0) return void response.destroy();
    server.emit('listed');
    await answering;
    response.end(JSON.stringify(list[0]));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { fetch } = globalThis;
  // As in a page, paths are the application's.
  globalThis.fetch = (input, init) =>
    fetch(
      String(input).replace(
        /^\/api/,
        `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
      ),
      init,
    );
  onTestFinished(() => {
    globalThis.fetch = fetch;
    server.closeAllConnections();
    server.close();
  });
  return {
    world,
    insert: (content: string) => world.sql('insert into messages (content) values ($1)', [content]),
    /**
     * Its lists are read from the database and not sent, from now until the function that it
     * resolves with is called.
     */
    async holdLists(): Promise<() => void> {
      let release: () => void = () => undefined;
      answering = new Promise<void>((resolve) => {
        release = resolve;
      });
      return release;
    },
    /** The next answer is cut off. */
    failOnce() {
      failing = 1;
    },
    listed: () => once(server, 'listed'),
    /**
     * No cursor from before is worth anything afterwards: only fetching again can tell what was
     * missed.
     */
    async voidCursors(): Promise<void> {
      await relay.stop();
      await world.sql('select rowcast.adopt()');
      world.cut();
      relay = await world.relay();
    },
  };
}

/** Runs an example as a bundler makes it, against this application. */
async function run(code: string, world: World, document: Document): Promise<Document> {
  const { outputFiles } = await build({
    stdin: {
      contents: code.replace(
        'wss://abc123.execute-api.eu-central-1.amazonaws.com/prod',
        world.gateway.websocketUrl,
      ),
      loader: 'tsx',
      resolveDir: process.cwd(),
    },
    alias: SOURCES,
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const folder = await temporaryFolder('example');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'example.mjs');
  await writeFile(file, outputFiles[0]?.contents ?? '');
  await import(file);
  return document;
}

test('the examples of docs/client.md and docs/lists.md have the types they say', async () => {
  const folder = resolve('node_modules/.cache/rowcast-examples');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const typed = examples.filter(({ language }) => language !== 'js');
  expect(typed).toHaveLength(7);
  const files = typed.map(({ language }, i) => join(folder, `example-${i}.${language}`));
  await Promise.all(files.map((file, i) => writeFile(file, typed[i]?.code as string)));
  const program = ts.createProgram(files, {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    jsx: ts.JsxEmit.ReactJSX,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    types: [],
    allowImportingTsExtensions: true,
    paths: Object.fromEntries(Object.entries(SOURCES).map(([name, file]) => [name, [file]])),
  });
  expect(
    ts
      .getPreEmitDiagnostics(program)
      .map(({ file, messageText }) => [
        file?.fileName.slice(dirname(folder).length),
        ts.flattenDiagnosticMessageText(messageText, '\n'),
      ]),
  ).toEqual([]);
});

test('the plain example shows messages as they come', async () => {
  const { world, insert } = await application();
  const page = await run(
    example('client: The browser client'),
    world,
    openDocument('<pre id="messages"></pre>'),
  );
  await expect.poll(() => page.title).toBe('Messages');
  await insert('live');
  await expect.poll(() => page.querySelector('#messages')?.textContent).toBe('live\n');
});

test('the example of a list shows what is in the database, whatever happens to its connection', async () => {
  const { world, insert, voidCursors, failOnce } = await application();
  await insert('before');
  failOnce();
  const page = await run(
    example('lists: The list'),
    world,
    openDocument('<pre id="messages"></pre>'),
  );
  const shown = () => page.querySelector('#messages')?.textContent;
  await expect.poll(shown).toBe('before');
  await expect.poll(() => page.title).toBe('Messages');
  await insert('live');
  await expect.poll(shown).toBe('before\nlive');
  await world.sql(`update messages set content = 'changed' where content = 'before'`);
  await world.sql(`delete from messages where content = 'live'`);
  await expect.poll(shown).toBe('changed');
  world.cut();
  await insert('while away');
  await expect.poll(shown).toBe('changed\nwhile away');
  await world.sql(`alter table messages disable trigger user`);
  await insert('never delivered');
  await voidCursors();
  await expect.poll(shown).toBe('changed\nwhile away\nnever delivered');
  await world.sql(`alter table messages enable trigger user`);
  await world.sql(`update messages set content = repeat('x', 40000) where content = 'changed'`);
  await expect.poll(shown).toContain('xxx');
  await world.sql('truncate messages');
  await expect.poll(shown).toBe('');
});

test('the React example shows progress as it is sent', async () => {
  const { world } = await application();
  const page = await run(example('client: React'), world, openDocument('<div id="root"></div>'));
  const shown = () => page.querySelector('p')?.textContent;
  await expect.poll(shown).toBe('0 % · live');
  await world.sql(`select rowcast.send_to_user('alice', 'upload_progress', '{"percent": 80}')`);
  await expect.poll(shown).toBe('80 % · live');
});

test('the React Query example loses nothing that is committed while it fetches', async () => {
  const { world, insert, holdLists, listed, voidCursors } = await application();
  await insert('before');
  const page = await run(
    example('lists: React Query'),
    world,
    openDocument('<div id="root"></div>'),
  );
  const shown = () => [...page.querySelectorAll('li')].map(({ textContent }) => textContent);
  await expect.poll(shown).toEqual(['before']);
  await insert('live');
  await expect.poll(shown).toEqual(['before', 'live']);
  const release = await holdLists();
  await Promise.all([listed(), voidCursors()]);
  await world.sql(`update messages set content = 'changed' where content = 'before'`);
  await insert('during the fetch');
  release();
  await insert('after');
  await expect.poll(shown).toContain('after');
  expect(shown().sort()).toEqual(['after', 'changed', 'during the fetch', 'live']);
});

test('the React example of a list shows the table, and its badge the status', async () => {
  const { world, insert } = await application();
  await insert('before');
  const page = await run(example('lists: React'), world, openDocument('<div id="root"></div>'));
  const shown = () => [...page.querySelectorAll('li')].map(({ textContent }) => textContent);
  await expect.poll(shown).toEqual(['before']);
  await expect.poll(() => page.querySelector('b')?.textContent).toBe('live');
  await insert('live');
  await expect.poll(shown).toEqual(['before', 'live']);
});

test('a page that a server rendered goes on from its snapshot, and fetches nothing', async () => {
  const { world, insert, failOnce } = await application();
  await insert('rendered');
  const [initial] = await world.sql(LIST);
  await insert('since');
  failOnce();
  const page = await run(
    example('lists: A page that a server renders'),
    world,
    openDocument(
      `<script type="application/json" id="initial">${JSON.stringify(initial)}</script><pre id="messages"></pre>`,
    ),
  );
  await expect.poll(() => page.querySelector('#messages')?.textContent).toBe('rendered\nsince');
});
