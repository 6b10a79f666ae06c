/**
 * `npm run bench -- NAME [--json] [--quick]`: runs one benchmark beside its baselines and prints a
 * table; with --json, the last line is one JSON object.
 */
import { Argument, Command } from 'commander';
import { Progress } from '../src/cli/progress.ts';
import { Terminal } from '../src/cli/terminal.ts';
import { broadcast } from './broadcast.ts';
import { bulk } from './bulk.ts';
import { burst } from './burst.ts';
import { catchup } from './catchup.ts';
import { directory } from './directory.ts';
import { fanout } from './fanout.ts';
import { latency } from './latency.ts';
import { type Outcome, Size } from './outcome.ts';
import { writers } from './writers.ts';

const BENCHMARKS: Readonly<Record<string, (size: Size) => Promise<Outcome>>> = {
  fanout,
  writers,
  latency,
  broadcast,
  burst,
  catchup,
  directory,
  bulk,
};

new Command('bench')
  .addArgument(new Argument('<name>', 'what to measure').choices(Object.keys(BENCHMARKS)))
  .option('--json', 'end with one line of JSON')
  .option('--quick', 'a small size, to see that it runs')
  .action(async (name: string, options: { json?: boolean; quick?: boolean }) => {
    const benchmark = BENCHMARKS[name] as (size: Size) => Promise<Outcome>;
    // Beside the table, which may go into a file.
    const terminal = new Terminal(process.stderr, process.env);
    const size = new Size(
      options.quick ?? false,
      (measurements) => new Progress(terminal, name, measurements),
    );
    const { rows, ratios, targets = {} } = await benchmark(size);
    if (terminal.interactive) terminal.print('');
    console.table(rows);
    console.table(
      Object.entries(ratios).map(([ratio, value]) => {
        const { least, most } = targets[ratio] ?? {};
        return {
          ratio: `ours / ${ratio}`,
          value,
          'to reach': least !== undefined ? `≥ ${least}` : most !== undefined ? `≤ ${most}` : '',
        };
      }),
    );
    if (options.json)
      console.log(JSON.stringify({ bench: name, ratios, quick: options.quick ?? false, rows }));
    process.exit(0);
  })
  .parseAsync();
