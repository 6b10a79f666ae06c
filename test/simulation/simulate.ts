/**
 * Runs the real classes of relay, log and pusher against models of Postgres, the gateway, the table
 * and clients, in virtual time, and checks every commit of the cursor and every frame.
 *
 *     npm run simulate -- --seeds 1000            as many seeds, on all processors
 *     npm run simulate -- --seed 17               one seed, with its trace
 *
 * A seed repeats exactly. A failure prints the seed and the trace of its shortest form.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { planOf } from './plan.ts';
import { type Failure, fails, shrink } from './shrink.ts';

const TRACE_LINES = 80;

const options = new Command()
  .option('--seeds <n>', 'how many seeds', Number, 1000)
  .option('--steps <n>', 'steps of each', Number, 80)
  .option('--seed <n>', 'the first seed; without --seeds the only one', Number)
  .option('--trace', 'prints the whole trace')
  .option('--first', 'ends with the first failure, as it is')
  .option('--part <n>', 'for the processes that this one starts', Number)
  .parse();
const {
  seeds,
  steps,
  seed,
  trace,
  first: isFirst,
  part,
} = options.opts<{
  seeds: number;
  steps: number;
  seed?: number;
  trace?: true;
  first?: true;
  part?: number;
}>();
const first = seed ?? 1;
const isSingle = seed !== undefined && options.getOptionValueSource('seeds') === 'default';
const processes = availableParallelism();

function report(failed: number, failure: Failure): void {
  const kinds = failure.steps.map(({ kind }) => kind);
  process.stdout.write(
    `seed ${failed}: ${failure.message}\n  steps: ${kinds.join(' ')}\n  ${failure.trace
      .slice(trace ? 0 : -TRACE_LINES)
      .join('\n  ')}\n`,
  );
}

/** @returns whether nothing was found */
async function runPart(index: number): Promise<boolean> {
  for (let n = first + index; n < first + seeds; n += processes) {
    const failure = await fails(n, planOf(n, steps));
    if (!failure) continue;
    report(n, isFirst ? failure : await shrink(failure, (shorter) => fails(n, shorter)));
    return false;
  }
  return true;
}

async function runAll(): Promise<boolean> {
  const began = performance.now();
  const parts = Array.from({ length: processes }, (_, index) =>
    fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--part', String(index)], {
      execArgv: process.execArgv,
    }),
  );
  const end = () => {
    for (const each of parts) each.kill();
  };
  process.on('SIGTERM', end);
  const codes = await Promise.all(
    parts.map(async (each) => {
      const [code] = (await once(each, 'exit')) as [number | null];
      if (isFirst && code === 1) end();
      return code;
    }),
  );
  const found = codes.includes(1);
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(
    `${seeds} seeds of ${steps} steps from ${first}: ${found ? 'FAILED' : 'nothing found'}, ${seconds} s\n`,
  );
  return !found;
}

async function runOne(): Promise<boolean> {
  const failure = await fails(first, planOf(first, steps));
  if (failure)
    report(first, trace ? failure : await shrink(failure, (shorter) => fails(first, shorter)));
  else process.stdout.write(`seed ${first}: nothing found\n`);
  return failure === null;
}

const passed = part !== undefined ? runPart(part) : isSingle ? runOne() : runAll();
process.exitCode = (await passed) ? 0 : 1;
