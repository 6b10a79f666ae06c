// Puts what the commands print into docs/commands.md: `npm run screens`. Each screen is that of a
// real system, made for it and sick where the text says so.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import WebSocket from 'ws';

const DOCUMENT = new URL('../docs/commands.md', import.meta.url);
const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'rowcast-screens-'));

function start(...args) {
  return startWith({}, ...args);
}

function startWith(env, ...args) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env: { ...process.env, ...env, NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  return { child, exited: once(child, 'exit'), output: () => output };
}

async function screen(...args) {
  const { exited, output } = start(...args);
  await exited;
  return `$ rowcast ${args.map((arg) => (/[ *]/.test(arg) ? `'${arg}'` : arg)).join(' ')}\n${output().trimEnd()}`;
}

async function until(what) {
  for (;;) {
    if (dev.child.exitCode !== null) throw new Error('rowcast dev has ended');
    const found = await what().catch(() => undefined);
    if (found) return found;
    await setTimeout(100);
  }
}

const dev = start('dev', '--port', '0');
const urls = await until(async () =>
  JSON.parse(await readFile(join(folder, '.rowcast/dev.json'), 'utf8')),
);
const database = new pg.Client(urls.databaseUrl);
database.on('error', () => undefined);
await database.connect();
const received = [];
const connect = async (query) => {
  const socket = new WebSocket(`${urls.websocketUrl}?${new URLSearchParams(query)}`);
  socket.on('message', (data) => received.push(JSON.parse(String(data))));
  await once(socket, 'message');
  return socket;
};
const sockets = await Promise.all([
  connect({ userId: 'ada', rooms: 'office' }),
  connect({ userId: 'ada' }),
  connect({ userId: 'bob', rooms: 'office' }),
]);

const screens = {};
const tail = start('tail');
await until(
  async () =>
    (
      await database.query(
        `select from pg_stat_activity where application_name = 'rowcast tail' and query like '%rowcast.event%'`,
      )
    ).rowCount,
);
await database.query(
  `insert into messages (sender, recipient, content) values ('ada', 'bob', 'hello')`,
);
await database.query(`update messages set status = 'read'`);
await database.query(`select rowcast.send_to_room('office', 'notice', '{"text": "lunch"}')`);
await database.query(`select rowcast.send_to_user('Bob', 'note', '"nobody is called so"')`);
await until(async () => tail.output().split('\n').length > 4);
tail.child.kill('SIGINT');
await tail.exited;
screens.tail = `$ rowcast tail\n${tail.output().trimEnd()}`;
await until(async () => received.filter(({ type }) => type === 'notice').length === 2);
const { rows } = await database.query(
  `select max(id) filter (where type = 'notice') as notice, max(id) filter (where type = 'note') as note from rowcast.event`,
);
await setTimeout(500);
screens.trace = await screen('trace', rows[0].notice);
screens['trace-nobody'] = await screen('trace', rows[0].note);
screens.status = await screen('status');
screens.doctor = await screen('doctor');
await database.query('alter table messages disable trigger "!rowcast_insert"');
const sick = startWith(
  { CONNECTIONS_TABLE: 'websocket_conections' },
  'doctor',
  '--url',
  `${urls.websocketUrl.replace(/local$/, 'prod')}`,
);
await sick.exited;
screens['doctor-sick'] =
  `$ CONNECTIONS_TABLE=websocket_conections rowcast doctor --url wss://…/prod\n${sick.output().trimEnd()}`
    .split('\n')
    .filter((line, n, all) => n === 0 || /✗|!|problem/.test(line) || continues(all, n))
    .join('\n');

for (const socket of sockets) socket.close();
await database.end();
dev.child.kill('SIGINT');
await dev.exited;
await rm(folder, { recursive: true, force: true });

let text = await readFile(DOCUMENT, 'utf8');
for (const [name, content] of Object.entries(screens))
  text = text.replace(
    new RegExp(`(<!-- screen: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`),
    (_, begin, end) => `${begin}\`\`\`console\n${content}\n\`\`\`\n${end}`,
  );
await writeFile(DOCUMENT, text);

/** The lines that belong to a finding that is shown. */
function continues(lines, n) {
  if (!/^ {10}/.test(lines[n])) return false;
  for (let at = n - 1; at > 0; at--) if (!/^ {10}/.test(lines[at])) return /✗|!/.test(lines[at]);
  return false;
}
