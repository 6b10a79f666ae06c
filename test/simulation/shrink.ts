import { Violation } from './client.ts';
import type { Step } from './plan.ts';
import { Simulation } from './simulation.ts';

/** Runs that the shortening of one failure may take. */
const MAX_RUNS = 250;

export interface Failure {
  readonly message: string;
  readonly steps: readonly Step[];
  readonly trace: readonly string[];
}

/** Runs a seed. @returns what went wrong, or null */
export function fails(seed: number, steps: readonly Step[]): Promise<Failure | null> {
  return outcomeOf(new Simulation(seed), steps);
}

export async function outcomeOf(
  simulation: Simulation,
  steps: readonly Step[],
): Promise<Failure | null> {
  try {
    await simulation.run(steps);
    return null;
  } catch (error) {
    // Anything else is an error of the code, or of the simulation.
    const message = error instanceof Violation ? error.message : (error as Error).stack;
    return { message: String(message), steps, trace: simulation.lines };
  }
}

/**
 * Leaves out steps for as long as the run still fails, in large parts first and then one by one.
 * @param run runs the steps anew
 */
export async function shrink(
  failure: Failure,
  run: (steps: readonly Step[]) => Promise<Failure | null>,
): Promise<Failure> {
  let shortest = failure;
  let runs = 0;
  for (let size = failure.steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < shortest.steps.length && runs < MAX_RUNS; runs++) {
      const { steps } = shortest;
      const shorter = await run([...steps.slice(0, at), ...steps.slice(at + size)]);
      if (shorter) shortest = shorter;
      else at += size;
    }
  }
  return shortest;
}
