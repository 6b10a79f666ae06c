import type { Progress } from '../src/cli/progress.ts';

/** The result of a benchmark. */
export interface Outcome {
  /** The table, a contender or a case a row. */
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  /** Ours over theirs. */
  readonly ratios: Readonly<Record<string, number>>;
  /** The bounds that the ratios are to keep. */
  readonly targets?: Readonly<Record<string, { readonly least?: number; readonly most?: number }>>;
}

/**
 * How large: the figures of bench/README.md, or small enough for CI to see that the benchmark still
 * runs.
 */
export class Size {
  readonly #quick: boolean;
  readonly #progress: (measurements: number) => Progress;
  #running: Progress | undefined;
  #measured = 0;

  /** @param progress shows how far the measurements have come */
  constructor(quick: boolean, progress: (measurements: number) => Progress) {
    this.#quick = quick;
    this.#progress = progress;
  }

  /** There will be so many measurements, of about the same length each. */
  begin(measurements: number): void {
    this.#running = this.#progress(measurements);
  }

  /** One more is done. @returns what it found */
  done<Found>(found: Found): Found {
    this.#running?.update(++this.#measured);
    return found;
  }

  of(full: number, quick: number): number {
    return this.#quick ? quick : full;
  }
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** @param share 0 to 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function ratio(ours: number, theirs: number): number {
  return Number((ours / theirs).toPrecision(3));
}
