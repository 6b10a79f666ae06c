import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import {
  clockTime,
  counted,
  duration,
  printable,
  size,
  Terminal,
  width,
  wrap,
} from '../../src/cli/terminal.ts';

test.each([
  [0, '0.0 s'],
  [9.94, '9.9 s'],
  [119, '119 s'],
  [121, '2 min'],
  [7199, '2 h'],
  [7500, '2 h 5 min'],
  [48 * 3600, '2 d'],
  [49.5 * 3600, '2 d 1 h'],
])('%d seconds are %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

test.each([
  [812, '812 B'],
  [4200, '4.2 kB'],
  [123_456_789, '123 MB'],
  [5e15, '5000 TB'],
])('%d bytes are %s', (bytes, text) => {
  expect(size(bytes)).toBe(text);
});

test('nouns follow their numbers', () => {
  expect([counted(1, 'event'), counted(0, 'event'), counted(12_345, 'try')]).toEqual([
    '1 event',
    '0 events',
    '12,345 tries',
  ]);
});

test('lines are wrapped by what is seen of them, and words that are longer stay whole', () => {
  const red = '\x1b[31mred\x1b[39m';
  expect(width(red)).toBe(3);
  expect(wrap(`${red} ${red} ${red}`, 10, 2)).toBe(`${red} ${red}\n  ${red}`);
  expect(wrap('a verylongwordthatstays whole', 10, 2)).toBe('a\n  verylongwordthatstays\n  whole');
});

test('times are those of the log: UTC', () => {
  expect(clockTime(Date.UTC(2026, 0, 2, 3, 4, 5, 6))).toBe('03:04:05.006Z');
});

test('foreign text moves no terminal cursor and turns no text around', () => {
  const hostile = {
    audience: ['user:\u001b[2J', '\u202egnp'],
    deep: { emoji: '👩‍👩‍👧', tab: 'a\tb' },
    n: 1,
  };
  expect(printable(hostile)).toEqual({
    audience: ['user:\\u001b[2J', '\\u202egnp'],
    deep: { emoji: '👩‍👩‍👧', tab: 'a\\u0009b' },
    n: 1,
  });
});

test('a screen is drawn as far as the window has lines, and what is hidden is said', () => {
  const window = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY: true, rows: 4 });
  const terminal = new Terminal(window as unknown as NodeJS.WriteStream, { NO_COLOR: '1' });
  const drawn = (screen: string) => {
    terminal.redraw(screen);
    return stripVTControlCharacters(window.read());
  };
  expect(drawn('a\nb\nc')).toBe('a\nb\nc\n');
  expect(drawn('a\nb\nc\nd')).toBe('a\nb\n… 2 lines more: make the window taller\n');
  window.isTTY = false;
  expect(drawn('a\nb\nc\nd')).toBe('a\nb\nc\nd\n');
});
