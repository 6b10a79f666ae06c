/**
 * From before an INSERT to its frame at the gateway, idle and under load, against the plain design.
 */
import { type Outcome, quantile, ratio, type Size } from './outcome.ts';
import { BenchSystem, type RunningRelay } from './system.ts';
import { WriterProcess } from './writer-process.ts';

interface Case {
  readonly connections: number;
  readonly perSecond: number;
  readonly rows: number;
}

export async function latency(size: Size): Promise<Outcome> {
  const cases: Record<string, Case> = {
    // So rare that the relay sleeps between two.
    idle: { connections: 1, perSecond: 5, rows: size.of(150, 6) },
    '100 × 100/s': { connections: 100, perSecond: 100, rows: size.of(500, 100) },
    '1,000 × 5/s': { connections: 1000, perSecond: 5, rows: size.of(25, 5) },
  };
  const rows: Record<string, string | number>[] = [];
  const ratios: Record<string, number> = {};
  size.begin(2 * Object.keys(cases).length);
  for (const [name, each] of Object.entries(cases)) {
    const system = await BenchSystem.start();
    await system.connect(each.connections);
    const ours = size.done(await measure(system, 'ours', () => system.ours(), each));
    const plain = size.done(await measure(system, 'classic', () => system.plain(), each));
    await system.stop();
    for (const [design, latencies] of Object.entries({ ours, plain }))
      rows.push({
        case: name,
        design,
        ...Object.fromEntries(
          [0.5, 0.99].map((q) => [`p${q * 100} ms`, Number(quantile(latencies, q).toFixed(1))]),
        ),
      });
    ratios[`${name} p50`] = ratio(quantile(ours, 0.5), quantile(plain, 0.5));
    ratios[`${name} p99`] = ratio(quantile(ours, 0.99), quantile(plain, 0.99));
  }
  return {
    rows,
    ratios,
    targets: Object.fromEntries(Object.keys(cases).map((name) => [`${name} p99`, { most: 0.5 }])),
  };
}

async function measure(
  system: BenchSystem,
  design: 'ours' | 'classic',
  start: () => Promise<RunningRelay>,
  load: Case,
): Promise<readonly number[]> {
  const relay = await start();
  const writer = await WriterProcess.start(await system.database(design), 4);
  // Warms up both ends.
  await system.sink.reset();
  await writer.write({ rows: 3, perSecond: 10 });
  await system.sink.received({ events: 3 * load.connections });
  await system.sink.reset();
  await writer.write(load);
  const { latencies } = await system.sink.received({ events: load.rows * load.connections });
  writer.stop();
  await relay.stop();
  return latencies;
}
