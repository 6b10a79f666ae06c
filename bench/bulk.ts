/** One INSERT of 100,000 rows, small and large: no trigger, the classic trigger, ours. */
import type { Design } from './designs.ts';
import { median, type Outcome, ratio, type Size } from './outcome.ts';
import { BenchSystem } from './system.ts';

const DESIGNS: readonly Design[] = ['none', 'classic', 'ours'];

export async function bulk(size: Size): Promise<Outcome> {
  const count = size.of(100_000, 5000);
  const system = await BenchSystem.start();
  const found: Record<string, number[]> = {};
  const rounds = size.of(4, 1);
  size.begin(rounds * DESIGNS.length);
  for (let round = 0; round < rounds; round++) {
    for (const design of DESIGNS) {
      await system.database(design);
      const ms = await system.sql(
        design,
        `insert into messages (sender, content) select 'ann', 'hello number ' || n from generate_series(1, ${count}) n`,
      );
      found[design] = [...(found[design] ?? []), size.done(ms)];
      await system.sql(design, 'checkpoint');
    }
  }
  const large = Object.fromEntries(
    await Promise.all(
      DESIGNS.map(async (design) => {
        const insert = system.sql(
          design,
          `insert into messages (content) values (repeat('x', 10000000))`,
        );
        return [
          design,
          await insert.then(
            () => 'written',
            (error: Error) => error.message,
          ),
        ];
      }),
    ),
  );
  await system.stop();
  const ms = (design: Design) => median(found[design] ?? []);
  return {
    rows: DESIGNS.map((design) => ({
      design,
      ms: Math.round(ms(design)),
      'a row of 10 MB': large[design] ?? '',
    })),
    ratios: { none: ratio(ms('ours'), ms('none')), classic: ratio(ms('ours'), ms('classic')) },
    targets: { classic: { most: 1 } },
  };
}
