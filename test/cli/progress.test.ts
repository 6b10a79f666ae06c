import { afterEach, expect, test, vi } from 'vitest';
import { Progress } from '../../src/cli/progress.ts';
import { Terminal } from '../../src/cli/terminal.ts';

const REWRITE = '\r\x1b[K';

afterEach(() => void vi.useRealTimers());

/** A stream that keeps what is written: a terminal of that width, or a file. */
function screen(columns?: number) {
  const written: string[] = [];
  const stream = {
    isTTY: columns !== undefined,
    columns,
    write: (text: string) => written.push(text),
  };
  return {
    written,
    terminal: new Terminal(stream as unknown as NodeJS.WriteStream, { NO_COLOR: '1' }),
  };
}

test('on a terminal one line is rewritten, with rate and remaining time, and never wider than it', () => {
  vi.useFakeTimers();
  const { written, terminal } = screen(44);
  const progress = new Progress(terminal, 'migrations', 100);
  for (let done = 1; done <= 50; done++) {
    vi.advanceTimersByTime(20);
    progress.update(done, 'a note that is longer than the terminal is wide');
  }
  // A tenth of a second apart.
  expect(written.length).toBe(10);
  expect(written.at(-1)).toContain(`${REWRITE}migrations  46 of 100 (46 %), 50/s`);
  for (const text of written) expect(text.length).toBeLessThan(44 + REWRITE.length);
  progress.end(100);
  expect(written.slice(-2)).toEqual([
    expect.stringMatching(/100 of 100 \(100 %\), took 1\.0 s/),
    '\n',
  ]);
});

test('elsewhere it is a line every ten seconds, and one at the end', () => {
  vi.useFakeTimers();
  const { written, terminal } = screen();
  const progress = new Progress(terminal, 'rows', 60_000);
  for (let second = 1; second <= 25; second++) {
    vi.advanceTimersByTime(1000);
    progress.update(second * 1000, 'note');
  }
  expect(written).toEqual([
    'rows  10,000 of 60,000 (16 %), 1,000/s, done in 50 s  note\n',
    'rows  20,000 of 60,000 (33 %), 1,000/s, done in 40 s  note\n',
  ]);
  progress.end(25_000);
  expect(written.at(-1)).toBe('rows  25,000 of 60,000 (41 %), 1,000/s, done in 35 s\n');
});

test('work that does not move has no rate, and no end in sight', () => {
  vi.useFakeTimers();
  const { written, terminal } = screen();
  const progress = new Progress(terminal, 'rows', 10);
  vi.advanceTimersByTime(10_000);
  progress.update(0);
  expect(written).toEqual(['rows  0 of 10 (0 %)\n']);
  new Progress(terminal, 'migrations', 0).end(0);
  expect(written.at(-1)).toBe('migrations  0 of 0 (100 %), took 0.0 s\n');
});
