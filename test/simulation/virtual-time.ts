import type { Clock, Timer } from '../../src/clock.ts';
import { seeded } from '../support/random.ts';

/** Epoch milliseconds at which every simulation begins. */
const EPOCH_MS = 1_750_000_000_000;

interface Task {
  readonly at: number;
  readonly order: number;
  act: (() => void) | null;
}

/**
 * Time that moves from task to task. After each task all promises that it resolved run to their
 * next wait, so that a seed repeats a run exactly.
 */
export class VirtualTime {
  /** Milliseconds since the beginning. */
  now = 0;
  readonly random: () => number;
  readonly #heap: Task[] = [];
  #order = 0;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  get epochMs(): number {
    return EPOCH_MS + Math.floor(this.now);
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** @returns what takes the task back */
  after(ms: number, act: () => void): () => void {
    const task: Task = { at: this.now + Math.max(0, ms), order: this.#order++, act };
    push(this.#heap, task);
    return () => {
      task.act = null;
    };
  }

  /** Runs until the time, or until `done` holds after some task. @returns whether it does */
  async run(untilMs: number, done: () => boolean = () => false): Promise<boolean> {
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.at > untilMs) break;
      pop(this.#heap);
      if (!next.act) continue;
      this.now = next.at;
      next.act();
      await new Promise(setImmediate);
      if (done()) return true;
    }
    this.now = Math.max(this.now, untilMs);
    return done();
  }
}

/**
 * A process that can be frozen and killed. Its relay gets time, timers and answers only through it.
 */
export class VirtualProcess implements Clock {
  readonly name: string;
  readonly #time: VirtualTime;
  /** How far its wall clock is ahead of the gateway's. */
  readonly #skewMs: number;
  #state: 'running' | 'frozen' | 'killed' = 'running';
  #held: (() => void)[] = [];

  constructor(name: string, time: VirtualTime, skewMs: number) {
    this.name = name;
    this.#time = time;
    this.#skewMs = skewMs;
  }

  get isKilled(): boolean {
    return this.#state === 'killed';
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen';
  }

  epochMs(): number {
    return this.#time.epochMs + this.#skewMs;
  }

  uptimeMs(): number {
    return this.#time.now;
  }

  random(): number {
    return this.#time.random();
  }

  after(ms: number, callback: () => void): Timer {
    // A frozen process may hold a timer that is due; it can still be cancelled then.
    let isCancelled = false;
    const act = () => {
      if (!isCancelled) callback();
    };
    const takeBack = this.#time.after(ms, () => this.run(act));
    const timer: Timer = {
      cancel: () => {
        isCancelled = true;
        takeBack();
      },
      unref: () => timer,
    };
    return timer;
  }

  /** Runs now, once it is thawed, or never. */
  run(act: () => void): void {
    if (this.#state === 'running') act();
    else if (this.#state === 'frozen') this.#held.push(act);
  }

  freeze(): void {
    if (this.#state === 'running') this.#state = 'frozen';
  }

  /** Delivers what was held, a bit apart: a woken process reads one socket after another. */
  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'running';
    for (const [n, act] of this.#held.splice(0).entries())
      this.#time.after(n / 100, () => this.run(act));
  }

  kill(): void {
    this.#state = 'killed';
    this.#held = [];
  }
}

function before(a: Task, b: Task): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Task[], task: Task): void {
  let i = heap.push(task) - 1;
  for (let up = (i - 1) >> 1; i > 0 && before(task, heap[up] as Task); up = (i - 1) >> 1) {
    heap[i] = heap[up] as Task;
    i = up;
  }
  heap[i] = task;
}

function pop(heap: Task[]): void {
  const last = heap.pop() as Task;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let down = 2 * i + 1;
    if (down >= heap.length) break;
    if (down + 1 < heap.length && before(heap[down + 1] as Task, heap[down] as Task)) down++;
    if (!before(heap[down] as Task, last)) break;
    heap[i] = heap[down] as Task;
    i = down;
  }
  heap[i] = last;
}
