/**
 * Writers, clients that come and go with their cursors, two relays, and faults drawn from a seed;
 * at the end, what was committed for each client is compared with what it received.
 *
 *     npm run chaos -- --minutes 2 --seed 1
 *
 * The seed repeats the plan of faults, the audiences and the clients; what happens in between is
 * the machine's.
 */
import { setTimeout } from 'node:timers/promises';
import { Command } from 'commander';
import pg from 'pg';
import { Progress } from '../../src/cli/progress.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import { oldestBinaries } from '../support/postgres/oldest.ts';
import { build } from '../support/process/build.ts';
import { seeded } from '../support/random.ts';
import { ChaosClient } from './client.ts';
import { FAULTS } from './faults.ts';
import { Ledger, ROOM_ON_SOCKET } from './ledger.ts';
import { Memberships, ROOM_BY_TABLE } from './memberships.ts';
import { untilInformed } from './presence.ts';
import { startSystem } from './system.ts';
import { ChaosWriter } from './writer.ts';

const WRITERS = 16;
const CLIENTS = 24;
const ROOMS = ['red', 'green', 'blue'];
/** After the last fault, until everything must have arrived. */
const SETTLE_DEADLINE_MS = 90_000;

const options = new Command()
  .option('--minutes <m>', 'how long faults are made', Number, 2)
  .option('--seed <n>', 'repeats the plan', Number, Date.now() % 100_000)
  .option('--oldest', 'on Postgres 14, once `npm run test:oldest` has installed it')
  .parse()
  .opts<{ minutes: number; seed: number; oldest?: true }>();

const terminal = new Terminal(process.stdout, process.env);
const random = seeded(options.seed);
await build();
const system = await startSystem(options.oldest && oldestBinaries());
const ledger = new Ledger();
const names = Array.from({ length: CLIENTS }, (_, i) => `user-${i}`);
const memberships = new Memberships({ databaseUrl: system.adminUrl, random, users: names });
const clients = names.map((name, i) => {
  const rooms = ROOMS.filter(() => random() < 0.4);
  return new ChaosClient({
    name,
    rooms,
    joins: i % 3 === 0,
    stays: memberships.stays.get(name) ?? [],
    batch: i % 2 === 0,
    url: system.websocketUrl,
    random,
    ledger,
  });
});
ledger.clients.push(...clients);
const audiences = [
  ['all'],
  ...clients.map(({ name }) => [`user:${name}`]),
  ...ROOMS.map((room) => [`room:${room}`]),
  ...Array<string[]>(3).fill([`room:${ROOM_BY_TABLE}`]),
  [`room:${ROOM_ON_SOCKET}`],
  ['room:red', 'user:user-1'],
  ['role:nobody'],
];
const writers = Array.from(
  { length: WRITERS },
  (_, writer) =>
    new ChaosWriter({ writer, databaseUrl: system.adminUrl, ledger, random, audiences }),
);

const running = clients.map((client) => client.run());
const writing = [...writers.map((writer) => writer.run()), memberships.run()];
const faults = await makeFaults();
const settled = await settle();
const verdict = ledger.judge();
const deadline = performance.now() + SETTLE_DEADLINE_MS;
const misinformed = await untilInformed(system.adminUrl, clients, deadline);
for (const client of clients) client.stop();
await Promise.all(running);
await system.stop();

const unrecovered = clients.reduce((sum, client) => sum + client.unrecovered, 0);
const wrong =
  verdict.lost.length + verdict.outOfOrder.length + verdict.outside.length + verdict.stale.length;
const good = settled && wrong + unrecovered + misinformed.length === 0;
const count = (list: readonly string[]) =>
  `${list.length}${list.length > 0 ? ` (${list.slice(0, 5).join(', ')}${list.length > 5 ? ', …' : ''})` : ''}`;
console.log(`
seed ${options.seed}
events ${ledger.events.size}
clients ${clients.length}
deliveries due ${verdict.due}
faults ${faults}
duplicates ${verdict.duplicates}
lost ${count(verdict.lost)}
out of order ${count(verdict.outOfOrder)}
outside audience ${count(verdict.outside)}
stale ${count(verdict.stale)}
misinformed of presence ${count(misinformed)}
unrecovered ${unrecovered}${settled ? '' : '\nnot settled: some client never saw the last event'}`);
process.exit(good ? 0 : 1);

/** One fault after another, with time to recover in between or without. */
async function makeFaults(): Promise<number> {
  await setTimeout(3000);
  const end = performance.now() + options.minutes * 60_000;
  const names = Object.keys(FAULTS);
  const total = options.minutes * 60;
  const progress = new Progress(terminal, 'seconds', total);
  let made = 0;
  while (performance.now() < end) {
    const name = names[Math.floor(random() * names.length)] as string;
    const pauseMs = random() < 0.3 ? 200 : 1000 + random() * 5000;
    const seconds = Math.round((end - performance.now()) / 1000);
    if (terminal.interactive)
      progress.update(total - seconds, `${ledger.events.size} events  ${name}`);
    else
      terminal.print(
        `${String(seconds).padStart(4)} s left  ${ledger.events.size} events  ${name}`,
      );
    await FAULTS[name]?.(system);
    made++;
    await setTimeout(pauseMs);
  }
  if (terminal.interactive) progress.end(total, `${made} faults`);
  return made;
}

/** Lets everything arrive. @returns whether every client saw the last event */
async function settle(): Promise<boolean> {
  for (const client of clients) client.settle();
  for (const writer of writers) writer.stop();
  memberships.stop();
  // The last event is committed after all the others.
  await Promise.all(writing);
  const admin = new pg.Client(system.adminUrl);
  await admin.connect();
  await admin.query(`select rowcast.send('chaos', '{"key": "last"}')`);
  await admin.end();
  const deadline = performance.now() + SETTLE_DEADLINE_MS;
  while (performance.now() < deadline) {
    if (clients.every(({ received }) => received.includes('last'))) return true;
    await setTimeout(100);
  }
  return false;
}
