/**
 * The cost of capture to writers: commits a second of 32 concurrent ones, the relay running and
 * draining, against no trigger, the classic trigger with a listener, and a log that notifies in
 * every transaction. Each also with commits that take 2 ms, as on RDS. By pgbench where it is
 * installed, else by two processes of Node, which take so much of a small machine that all ratios
 * suffer.
 */
import { execFile, spawnSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { temporaryFolder } from '../test/support/process/temporary-folder.ts';
import type { Design } from './designs.ts';
import { median, type Outcome, ratio, type Size } from './outcome.ts';
import { BenchSystem } from './system.ts';
import { WriterProcess } from './writer-process.ts';

const PROCESSES = 2;
const WRITERS = 32;
const DESIGNS: readonly Design[] = ['none', 'classic', 'always', 'ours'];

export async function writers(size: Size): Promise<Outcome> {
  const rows: Record<string, string | number>[] = [];
  const ratios: Record<string, number> = {};
  size.begin(2 * size.of(4, 1) * DESIGNS.length);
  for (const [commits, settings] of Object.entries({
    native: {},
    slow: { commit_delay: '2000', commit_siblings: '0' },
  })) {
    const rates = await measure(size, settings);
    rows.push({
      commits,
      by: hasPgbench ? 'pgbench' : 'node',
      ...Object.fromEntries(DESIGNS.map((design) => [design, Math.round(rates[design])])),
    });
    ratios[`${commits}None`] = ratio(rates.ours, rates.none);
    ratios[`${commits}Classic`] = ratio(rates.ours, rates.classic);
    ratios[`${commits}Always`] = ratio(rates.ours, rates.always);
  }
  return {
    rows,
    ratios,
    targets: {
      nativeNone: { least: 0.6 },
      nativeClassic: { least: 3 },
      slowNone: { least: 0.9 },
      slowClassic: { least: 20 },
    },
  };
}

async function measure(
  size: Size,
  settings: Record<string, string>,
): Promise<Record<Design, number>> {
  const system = await BenchSystem.start({ max_connections: '100', ...settings });
  // Nobody is connected: posts are measured by the other benchmarks, and would take the writers'
  // processors here.
  await system.connect(0);
  const relay = await system.ours();
  const rates: Record<Design, number[]> = { none: [], classic: [], always: [], ours: [] };
  for (let round = 0; round < size.of(4, 1); round++)
    for (const design of DESIGNS)
      rates[design].push(size.done(await commitsPerSecond(system, design, size.of(3000, 300))));
  await relay.stop();
  await system.stop();
  // The first round warms up.
  const settled = (design: Design) => median(rates[design].slice(rates[design].length > 1 ? 1 : 0));
  return {
    none: settled('none'),
    classic: settled('classic'),
    always: settled('always'),
    ours: settled('ours'),
  };
}

async function commitsPerSecond(system: BenchSystem, design: Design, ms: number): Promise<number> {
  const url = await system.database(design);
  // Somebody listens, as somebody does: the relay to ours, this to theirs.
  const listener = new pg.Client(url);
  await listener.connect();
  if (design !== 'ours') await listener.query('listen messages');
  const rate = hasPgbench ? await byPgbench(url, ms) : await byNode(url, ms);
  await listener.end();
  // Ours has the rows it wrote delivered before the next is measured.
  if (design === 'ours') await system.sql(design, DRAINED);
  await system.sql(design, 'checkpoint');
  return rate;
}

/** The writers take little of the machine that way; Debian has it in its package of Postgres. */
async function byPgbench(url: string, ms: number): Promise<number> {
  const script = join(await temporaryFolder('pgbench'), 'insert.sql');
  await writeFile(script, `insert into messages (sender, content) values ('ann', 'hello');\n`);
  const load = [
    '-n',
    '-M',
    'prepared',
    '-f',
    script,
    '-c',
    String(WRITERS),
    '-j',
    '2',
    '-T',
    String(Math.ceil(ms / 1000)),
  ];
  const { stdout } = await promisify(execFile)('pgbench', [...load, url]);
  await rm(dirname(script), { recursive: true });
  return Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
}

async function byNode(url: string, ms: number): Promise<number> {
  const processes = await Promise.all(
    Array.from({ length: PROCESSES }, () => WriterProcess.start(url, WRITERS / PROCESSES)),
  );
  const began = performance.now();
  const counts = await Promise.all(processes.map((each) => each.write({ ms })));
  const seconds = (performance.now() - began) / 1000;
  for (const each of processes) each.stop();
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

const hasPgbench = spawnSync('pgbench', ['--version']).status === 0;

const DRAINED = `do $$ begin
  while exists (select from rowcast.event e, rowcast.cursor c where not pg_visible_in_snapshot(e.xid, c.snapshot)) loop
    perform pg_sleep(0.1);
  end loop;
end $$`;
