import { seeded } from '../support/random.ts';

/** One thing that happens from outside. Its two numbers choose with whom and how much. */
export interface Step {
  readonly kind: StepKind;
  /** After the step before. */
  readonly gapMs: number;
  /** From 0 to 1. */
  readonly who: number;
  readonly how: number;
}

/** Out of so many steps in all. */
const WEIGHTS = {
  begin: 8,
  write: 22,
  burst: 4,
  commit: 12,
  rollback: 2,
  connect: 10,
  cut: 5,
  leave: 1,
  drop: 2,
  rooms: 3,
  slowOne: 7,
  trouble: 4,
  calm: 6,
  startRelay: 4,
  stopRelay: 2,
  killRelay: 6,
  freeze: 3,
  thaw: 3,
  loseSession: 2,
  partition: 1,
  deaf: 2,
  tableFails: 1,
  refetch: 1,
  crash: 1,
  wait: 2,
} as const;

export type StepKind = keyof typeof WEIGHTS;

const KINDS = Object.entries(WEIGHTS).flatMap(([kind, weight]) =>
  Array<StepKind>(weight).fill(kind as StepKind),
);

/** The steps of a seed, each independent of the others, so that some can be left out. */
export function planOf(seed: number, count: number): Step[] {
  const random = seeded(seed);
  return Array.from({ length: count }, () => ({
    kind: KINDS[Math.floor(random() * KINDS.length)] as StepKind,
    gapMs: Math.floor(random() ** 3 * 1500),
    who: random(),
    how: random(),
  }));
}
