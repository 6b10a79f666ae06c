/**
 * One row to 10,000 connections: until the first, the median and the last have it, against the
 * plain design.
 */
import { median, type Outcome, ratio, type Size } from './outcome.ts';
import { BenchSystem, type RunningRelay } from './system.ts';
import { WriterProcess } from './writer-process.ts';

export async function broadcast(size: Size): Promise<Outcome> {
  const connections = size.of(10_000, 500);
  const system = await BenchSystem.start();
  await system.connect(connections);
  size.begin(2);
  const designs = {
    ours: size.done(await measure(system, 'ours', () => system.ours(), connections, size.of(5, 1))),
    plain: size.done(
      await measure(system, 'classic', () => system.plain(), connections, size.of(3, 1)),
    ),
  };
  await system.stop();
  return {
    rows: Object.entries(designs).map(([design, { first, middle, last }]) => ({
      design,
      'first ms': Math.round(first),
      'median ms': Math.round(middle),
      'last ms': Math.round(last),
    })),
    ratios: {
      first: ratio(designs.ours.first, designs.plain.first),
      median: ratio(designs.ours.middle, designs.plain.middle),
      last: ratio(designs.ours.last, designs.plain.last),
    },
    targets: { last: { most: 0.15 } },
  };
}

async function measure(
  system: BenchSystem,
  design: 'ours' | 'classic',
  start: () => Promise<RunningRelay>,
  connections: number,
  rounds: number,
) {
  const relay = await start();
  const writer = await WriterProcess.start(await system.database(design), 1);
  const found: { first: number; middle: number; last: number }[] = [];
  for (let round = 0; round <= rounds; round++) {
    await system.sink.reset();
    await writer.write({ rows: 1, perSecond: 1 });
    const { latencies } = await system.sink.received({ events: connections });
    // The first round warms up.
    if (round > 0)
      found.push({
        first: Math.min(...latencies),
        middle: median(latencies),
        last: Math.max(...latencies),
      });
  }
  writer.stop();
  await relay.stop();
  return {
    first: median(found.map(({ first }) => first)),
    middle: median(found.map(({ middle }) => middle)),
    last: median(found.map(({ last }) => last)),
  };
}
