/** How much was left at a moment, by one and the same clock. */
export interface Remaining {
  readonly left: number;
  readonly atMs: number;
}

export interface Pace {
  /** Less is left by so much each second: negative while more comes in than goes out. */
  readonly perSecond: number;
  /** Missing where it never ends at this pace. */
  readonly etaSeconds?: number;
}

/** How fast something gets less, and when nothing will be left. */
export function rateOf(before: Remaining, now: Remaining): Pace {
  const perSecond = ((before.left - now.left) / Math.max(1, now.atMs - before.atMs)) * 1000;
  const rounded = Math.round(perSecond * 10) / 10;
  return perSecond > 0
    ? { perSecond: rounded, etaSeconds: Math.ceil(now.left / perSecond) }
    : { perSecond: rounded };
}
