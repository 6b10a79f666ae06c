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
  members: 5,
  disconnect: 2,
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
  stranger: 1,
  tableFails: 1,
  refetch: 1,
  crash: 1,
  wait: 2,
} as const;

export type StepKind = keyof typeof WEIGHTS;

/** Without these nothing happens to which faults could. */
const BASIC: ReadonlySet<string> = new Set([
  'begin',
  'write',
  'burst',
  'commit',
  'connect',
  'wait',
]);

/**
 * The steps of a seed, each independent of the others, so that some can be left out. Each seed
 * leaves some faults out and has more of others: two that must meet are else too far apart.
 */
export function planOf(seed: number, count: number): Step[] {
  const random = seeded(seed);
  const kinds = Object.entries(WEIGHTS).flatMap(([kind, weight]) => {
    const factor = BASIC.has(kind) ? 1 : ([0, 0.5, 1, 4][Math.floor(random() * 4)] as number);
    return Array<StepKind>(Math.ceil(weight * factor)).fill(kind as StepKind);
  });
  return Array.from({ length: count }, () => ({
    kind: kinds[Math.floor(random() * kinds.length)] as StepKind,
    gapMs: Math.floor(random() ** 3 * 1500),
    who: random(),
    how: random(),
  }));
}
