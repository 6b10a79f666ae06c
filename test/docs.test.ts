import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../src/daemon/config.ts';
import { TestDatabase } from './support/postgres/database.ts';

/** `-- TYPE to TERM, TERM: DATA` after a statement is the event that it makes. */
const EVENT =
  /^(?<sql>[^\n]*;)\s+-- (?<type>\w+) to (?<terms>[^\n ]+(?:, [^\n ]+)*?)(?:: (?<data>[^\n]+))?$/;

/** Each with the remark behind it; a function's body has semicolons too. */
const STATEMENTS = /(?:\$\$.*?\$\$|(?!;(?: +--[^\n]*)?\n).)*;(?: +--[^\n]*)?\n/gs;

test.each([
  ['sql.md', 20],
  ['visibility.md', 6],
  ['lists.md', 0],
])('the examples of docs/%s do what they say', async (file, least) => {
  const text = await readFile(new URL(`../docs/${file}`, import.meta.url), 'utf8');
  const examples = [...text.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql as string);
  // Roles belong to the whole server, which other tests share.
  const role = `docs_${Math.random().toString(36).slice(2)}`;
  const statements = examples
    .flatMap((sql) => sql.match(STATEMENTS) ?? [])
    .map((statement) =>
      statement
        .trim()
        .replaceAll('rowcast_relay', `${role}_relay`)
        .replaceAll(/\bapp\b/g, role),
    )
    .filter((statement) => statement !== '');
  expect(statements.length).toBeGreaterThan(least);

  const database = await TestDatabase.create();
  onTestFinished(async () => {
    for (const each of [role, `${role}_relay`]) {
      const made = await database.sql('select from pg_roles where rolname = $1', [each]);
      if (made.length) await database.sql(`drop owned by ${each}; drop role ${each}`);
    }
    await database.close();
  });
  let lastId = '0';
  for (const statement of statements) {
    const said = EVENT.exec(statement.split('\n').at(-1) as string)?.groups;
    if (statement.includes('adopt')) lastId = '0';
    await database.sql(statement);
    const events = await database.sql<{
      id: string;
      type: string;
      audience: string[];
      data: string | null;
    }>(
      `select id, type, audience, data::text from rowcast.event where id > $1 and type <> 'MEMBERS' order by id`,
      [lastId],
    );
    lastId = events.at(-1)?.id ?? lastId;
    expect(
      events.map(({ type, audience }) => [type, [...audience].sort()]),
      statement,
    ).toEqual(said ? [[said.type, said.terms?.split(', ').sort()]] : []);
    if (said?.data) expect(events[0]?.data ?? 'null', statement).toBe(said.data);
  }
});

test('the example of docs/publisher.md runs', async () => {
  const text = await readFile(new URL('../docs/publisher.md', import.meta.url), 'utf8');
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] as string;
  const source = new URL('../src/publisher/publisher.ts', import.meta.url).href;
  const { code } = await transform(example.replace('rowcast/publisher', source), { loader: 'ts' });
  const database = await TestDatabase.create();
  onTestFinished(() => database.close());
  await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', code],
    {
      env: { ...process.env, DATABASE_URL: database.url },
    },
  );
  expect(
    await database.sql('select type, audience, data::text from rowcast.event order by id'),
  ).toEqual([
    { type: 'upload_progress', audience: ['user:42'], data: '{"percent":80}' },
    { type: 'notification', audience: ['user:42', 'role:admin'], data: '{"text":"done"}' },
  ]);
});

test('every test that SECURITY.md names is there', async () => {
  const rows = (await readFile('SECURITY.md', 'utf8')).match(/^\|.*\|$/gm)?.slice(2) ?? [];
  const named = rows.flatMap((row) => [
    ...(row.split('|').at(-2) as string).matchAll(/`([\w/-]+)`/g),
  ]);
  expect(named.length).toBeGreaterThan(rows.length - 1);
  for (const [, path] of named)
    expect(existsSync(`${path}.test.ts`) || existsSync(`test/${path}.test.ts`), path).toBe(true);
});

test('every setting that deploy/compose.yaml passes on is one of the README', async () => {
  const [compose, readme] = await Promise.all([
    readFile('deploy/compose.yaml', 'utf8'),
    readFile('README.md', 'utf8'),
  ]);
  const names = [...compose.matchAll(/^ {6}([A-Z_]+): \$\{(\w+)/gm)].map(([, inside, outside]) => [
    inside,
    outside,
  ]);
  expect(names.length).toBeGreaterThan(6);
  for (const [inside = '', outside] of names) {
    expect(outside).toBe(inside);
    if (!inside.startsWith('AWS_')) expect(readme).toContain(`\`${inside}\``);
  }
});

test('.env.example and the README name the same settings, and the defaults are those of the program', async () => {
  const [example, readme] = await Promise.all([
    readFile('.env.example', 'utf8'),
    readFile('README.md', 'utf8'),
  ]);
  const set = [...example.matchAll(/^(?:# )?([A-Z_]+)=(.*)$/gm)].map(
    ([, name, value]) => [name, value] as const,
  );
  const table = readme.slice(
    readme.indexOf('| relay | default'),
    readme.indexOf('| Lambdas | default'),
  );
  const named = [...table.matchAll(/^\| (`[^|]*`)/gm)].flatMap(([, cell]) =>
    [...(cell as string).matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name as string),
  );
  expect(set.map(([name]) => name).sort()).toEqual(named.sort());
  const required = Object.fromEntries(
    [...example.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  const all = Object.fromEntries(set.filter(([name]) => name !== 'DATABASE_SECRET_ARN'));
  expect(loadConfig(all)).toEqual(loadConfig(required));
});

test('links of the documentation lead to files and headings that there are', async () => {
  const files = [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'bench/README.md',
    'test/fault/README.md',
  ].concat(
    (await readdir('docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
  );
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = '', heading] = link.split('#');
      const target = path === '' ? file : join(dirname(file), path);
      expect(existsSync(target), `${file}: ${link}`).toBe(true);
      if (!heading) continue;
      const headings = [...(await readFile(target, 'utf8')).matchAll(/^#+ (.*)$/gm)].map(
        ([, title]) =>
          (title as string)
            .toLowerCase()
            .replaceAll(/[^\w\s-]/g, '')
            .replaceAll(' ', '-'),
      );
      expect(headings, `${file}: ${link}`).toContain(heading);
    }
  }
});

test('the runbook names each event that the relay logs', async () => {
  const sources = await readdir('src', { recursive: true });
  const texts = await Promise.all(
    sources
      .filter((path) => path.endsWith('.ts') && !/^(lambdas|client|local)/.test(path))
      .map((path) => readFile(join('src', path), 'utf8')),
  );
  const logged = new Set(
    texts.flatMap((text) =>
      [...text.matchAll(/event: '(\w+)'/g)].map(([, event]) => event as string),
    ),
  );
  // At level debug.
  for (const event of ['migration', 'joined']) logged.delete(event);
  expect(logged.size).toBeGreaterThan(25);
  const runbook = await readFile('docs/operations.md', 'utf8');
  const table = runbook.slice(
    runbook.indexOf('## What the log says'),
    runbook.indexOf('## Alarms'),
  );
  expect([...logged].filter((event) => !table.includes(`\`${event}\``))).toEqual([]);
});

test('each test that the list of faults names is there', async () => {
  const files = (await readdir('test', { recursive: true })).filter((path) =>
    path.endsWith('.test.ts'),
  );
  const cells = [
    ...(await readFile('test/fault/README.md', 'utf8')).matchAll(/^\|[^|]*\| (.*) \|$/gm),
  ].slice(2);
  expect(cells.length).toBeGreaterThan(20);
  for (const [, cell = ''] of cells) {
    let where = '';
    for (const [, folderOrFile, title] of cell.matchAll(/(?:([\w/]+): )?(?:\*([^*]+)\*|all)/g)) {
      where = folderOrFile ?? where;
      const of = files.filter(
        (path) => path.endsWith(`${where}.test.ts`) || path.startsWith(`${where}/`),
      );
      const texts = await Promise.all(of.map((path) => readFile(join('test', path), 'utf8')));
      const parts = (title ?? '').split('…');
      expect(
        texts.some((text) => parts.every((part) => text.includes(part.trim()))),
        `${where}: ${title}`,
      ).toBe(true);
    }
  }
});
