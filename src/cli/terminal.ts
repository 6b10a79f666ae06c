import { once } from 'node:events';
import { stripVTControlCharacters, styleText } from 'node:util';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/**
 * Where a command writes: a terminal, with colours and a width, or a pipe or file, plain and never
 * redrawn.
 */
export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  readonly #colours: boolean;

  /** @param env NO_COLOR (https://no-color.org) takes colours out */
  constructor(stream: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>) {
    this.#stream = stream;
    this.#colours = stream.isTTY === true && !env.NO_COLOR;
  }

  /** It can be redrawn, and somebody watches. */
  get interactive(): boolean {
    return this.#stream.isTTY === true;
  }

  /** The width of a line; 80 where it is not known. */
  get columns(): number {
    return this.#stream.isTTY ? this.#stream.columns || 80 : 80;
  }

  /** The width of a screen's text: lines of more than 80 columns are hard to read. */
  get textColumns(): number {
    return Math.min(80, this.columns);
  }

  print(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  /** Resolves once the reader has caught up: output for a slow reader is held in memory. */
  async drained(signal: AbortSignal): Promise<void> {
    if (this.#stream.writableNeedDrain)
      await once(this.#stream, 'drain', { signal }).catch(() => undefined);
  }

  /**
   * In the place of what was drawn before, on a terminal, as much as it has lines for; below it
   * elsewhere.
   */
  redraw(screen: string): void {
    if (!this.interactive) {
      this.print(screen);
      return;
    }
    const lines = screen.split('\n');
    const room = (this.#stream.rows || Number.POSITIVE_INFINITY) - 1;
    const hidden = lines.length - room;
    if (hidden > 0)
      lines.splice(
        room - 1,
        hidden + 1,
        `… ${counted(hidden + 1, 'line')} more: make the window taller`,
      );
    this.#stream.write(`\x1b[H\x1b[J${lines.join('\n')}\n`);
  }

  /** The line that the cursor is in, again; on a terminal only. */
  rewriteLine(text: string): void {
    this.#stream.write(`\r\x1b[K${text}`);
  }

  paint(style: Style, text: string): string {
    return this.#colours ? styleText(style, text) : text;
  }
}

/** Lines of at most `columns`, each after the first indented. Words that are longer stay whole. */
export function wrap(text: string, columns: number, indent: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line && width(line) + 1 + width(word) > columns - indent) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}

/** Columns that a text takes: colours take none. */
export function width(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** `3.2 s`, `14 min`, `2 h 5 min`, `3 d 4 h` */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** `812 B`, `4.2 MB` */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = bytes;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `12,345` */
export function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** `3 events`, `1 event`, `2 tries` */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${value === 1 ? noun : noun.replace(/y?$/, (end) => (end ? 'ies' : 's'))}`;
}

/** `14:03:21.482Z`: UTC, as in the logs. @param epochMs milliseconds */
export function clockTime(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(11);
}

/** `2026-11-21 14:03:21Z` */
export function dateTime(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/**
 * Foreign text (types, terms, names, data) without characters that move a terminal's cursor or
 * turn its text around.
 */
export function printable<Value>(value: Value): Value {
  return JSON.parse(
    JSON.stringify(value, (_, each) =>
      typeof each === 'string' ? each.replaceAll(UNPRINTABLE, escaped) : each,
    ),
  ) as Value;
}

/**
 * Control characters, and those that change the direction of writing (Unicode's Cc and Cf but for
 * what joins emoji and scripts).
 */
const UNPRINTABLE = /\p{Cc}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
