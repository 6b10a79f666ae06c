/**
 * 10,000 rows in one transaction to 100 connections, with and without batches: until the last
 * frame, and how many posts that took. The plain design gets a share of the rows, since it takes
 * minutes; its figures are scaled up, which flatters it.
 */
import { type Outcome, ratio, type Size } from './outcome.ts';
import { BenchSystem, type RunningRelay } from './system.ts';

const CONNECTIONS = 100;

export async function burst(size: Size): Promise<Outcome> {
  const count = size.of(10_000, 500);
  size.begin(3);
  const found = {
    batch: size.done(await measure(true, count, 'ours', (system) => system.ours())),
    single: size.done(await measure(false, count, 'ours', (system) => system.ours())),
    plain: size.done(await measure(false, size.of(300, 30), 'classic', (system) => system.plain())),
  };
  const scale = count / size.of(300, 30);
  const plain = { ms: found.plain.ms * scale, posts: found.plain.posts * scale };
  return {
    rows: Object.entries({ ...found, plain }).map(([design, { ms, posts }]) => ({
      design,
      'until the last ms': Math.round(ms),
      posts: Math.round(posts),
    })),
    ratios: {
      fewerPosts: ratio(plain.posts, found.batch.posts),
      sooner: ratio(plain.ms, found.batch.ms),
      soonerSingle: ratio(plain.ms, found.single.ms),
    },
    targets: { fewerPosts: { least: 50 }, sooner: { least: 20 } },
  };
}

async function measure(
  batch: boolean,
  count: number,
  design: 'ours' | 'classic',
  start: (system: BenchSystem) => Promise<RunningRelay>,
): Promise<{ ms: number; posts: number }> {
  const system = await BenchSystem.start();
  await system.connect(CONNECTIONS, { batch });
  const relay = await start(system);
  const began = performance.timeOrigin + performance.now();
  await system.sql(
    await nameOf(system, design),
    `insert into messages (content) select 'sent_' || n from generate_series(1, ${count}) n`,
  );
  const { arrivals, posts } = await system.sink.received({ events: count * CONNECTIONS });
  await relay.stop();
  await system.stop();
  return { ms: (arrivals.at(-1) ?? 0) - began, posts };
}

async function nameOf(system: BenchSystem, design: 'ours' | 'classic'): Promise<string> {
  await system.database(design);
  return design;
}
