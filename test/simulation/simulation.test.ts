import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { MUTANTS } from './mutants.ts';
import { planOf, type Step } from './plan.ts';
import { type Failure, fails, outcomeOf, shrink } from './shrink.ts';
import { Simulation } from './simulation.ts';

const STEPS = 80;

test('a seed repeats a run exactly, down to the millisecond', async () => {
  const traces = await Promise.all(
    [17, 17, 18].map(async (seed) => {
      const simulation = new Simulation(seed);
      await simulation.run(planOf(seed, STEPS));
      return simulation.lines;
    }),
  );
  expect(traces[1]).toEqual(traces[0]);
  expect(traces[2]).not.toEqual(traces[0]);
});

test.each([0, 1, 2, 3])('in the hundred seeds of part %i no promise is broken', async (part) => {
  for (let seed = part * 100 + 1; seed <= part * 100 + 100; seed++)
    expect(await fails(seed, planOf(seed, STEPS))).toBeNull();
});

test('a failure is shortened to the steps that it needs', async () => {
  let seed = 0;
  // Rows vanish from the log as soon as they are committed.
  const lossy = (steps: readonly Step[]) => {
    const simulation = new Simulation(seed);
    simulation.postgres.appeared = (row) => {
      row.removed = row.key !== 'last';
    };
    return outcomeOf(simulation, steps);
  };
  let failure: Failure | null = null;
  while (!failure) failure = await lossy(planOf(++seed, STEPS));
  const { steps, message, trace } = await shrink(failure, lossy);
  expect(message).toMatch(/missing/);
  expect(steps.length).toBeLessThan(10);
  expect(trace.at(-1)).toContain('VIOLATION');
});

test.each(MUTANTS)(
  'the code that the mutant "$name" changes is there, once',
  async ({ file, find }) => {
    expect((await readFile(`src/${file}`, 'utf8')).split(find)).toHaveLength(2);
  },
);
