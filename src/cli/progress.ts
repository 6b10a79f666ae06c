import { type Remaining, rateOf } from '../telemetry/pace.ts';
import { count, duration, type Terminal } from './terminal.ts';

const REWRITE_MS = 100;
const LINE_MS = 10_000;

/**
 * How far a piece of work has come: one line that is rewritten, on a terminal; elsewhere (CI, a
 * log) a line every ten seconds and one at the end.
 *
 *     migrations  3 of 5 (60 %), 12/s, done in 1 s
 */
export class Progress {
  readonly #terminal: Terminal;
  readonly #label: string;
  readonly #total: number;
  readonly #started: Remaining;
  #shownAt: number;

  /** @param total in whatever unit `update` counts */
  constructor(terminal: Terminal, label: string, total: number) {
    this.#terminal = terminal;
    this.#label = label;
    this.#total = total;
    this.#started = { left: total, atMs: performance.now() };
    this.#shownAt = terminal.interactive ? Number.NEGATIVE_INFINITY : this.#started.atMs;
  }

  /** @param done so much of the total; @param note what else is worth a word */
  update(done: number, note = ''): void {
    const now = performance.now();
    if (now - this.#shownAt < (this.#terminal.interactive ? REWRITE_MS : LINE_MS)) return;
    this.#shownAt = now;
    this.#show(done, note);
  }

  /** A last line, that stays. */
  end(done: number, note = ''): void {
    this.#show(done, note);
    if (this.#terminal.interactive) this.#terminal.print('');
  }

  #show(done: number, note: string): void {
    const text = this.#text(done, note);
    if (this.#terminal.interactive)
      this.#terminal.rewriteLine(text.slice(0, this.#terminal.columns - 1));
    else this.#terminal.print(text);
  }

  #text(done: number, note: string): string {
    const share =
      this.#total > 0 ? Math.floor((100 * Math.min(done, this.#total)) / this.#total) : 100;
    const now = { left: Math.max(0, this.#total - done), atMs: performance.now() };
    const { perSecond, etaSeconds } = rateOf(this.#started, now);
    const eta =
      now.left === 0
        ? `, took ${duration((now.atMs - this.#started.atMs) / 1000)}`
        : etaSeconds === undefined
          ? ''
          : `, ${count(perSecond)}/s, done in ${duration(etaSeconds)}`;
    return `${this.#label}  ${count(done)} of ${count(this.#total)} (${share} %)${eta}${note && `  ${note}`}`;
  }
}
