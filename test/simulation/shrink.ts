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

/** @returns what went wrong, or null. @throws what is no broken promise but an error of the code */
export async function fails(seed: number, steps: readonly Step[]): Promise<Failure | null> {
  const simulation = new Simulation(seed);
  try {
    await simulation.run(steps);
    return null;
  } catch (error) {
    const message = error instanceof Violation ? error.message : (error as Error).stack;
    return { message: String(message), steps, trace: simulation.lines };
  }
}

/** Leaves out steps for as long as the run still fails, in large parts first and then one by one. */
export async function shrink(seed: number, failure: Failure): Promise<Failure> {
  let shortest = failure;
  let runs = 0;
  for (let size = failure.steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < shortest.steps.length && runs < MAX_RUNS; runs++) {
      const { steps } = shortest;
      const shorter = await fails(seed, [...steps.slice(0, at), ...steps.slice(at + size)]);
      if (shorter) shortest = shorter;
      else at += size;
    }
  }
  return shortest;
}
