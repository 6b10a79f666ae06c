import type { CursorSnapshot } from '../protocol/cursor.ts';

/** Counts the deliveries of some frames that are not settled yet, over all their connections. */
export class Settlement {
  static #count = 0;
  /** Grows with each dispatch or send. */
  readonly order: number;
  /** Where the window of these live frames starts; undefined for frames of a replay. */
  readonly windowStart: CursorSnapshot | undefined;
  #pending = 0;
  #sealed = false;
  #resolve: () => void = () => undefined;
  /** Resolves once every frame is settled for every connection. */
  readonly done = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  constructor(windowStart?: CursorSnapshot, order = Settlement.#count++) {
    this.windowStart = windowStart;
    this.order = order;
  }

  /** Frames that are not settled yet. */
  get pending(): number {
    return this.#pending;
  }

  expect(): void {
    this.#pending++;
  }

  settle(): void {
    this.#pending--;
    if (this.#sealed && this.#pending === 0) this.#resolve();
  }

  /** No more frames are added. */
  seal(): void {
    this.#sealed = true;
    if (this.#pending === 0) this.#resolve();
  }
}
