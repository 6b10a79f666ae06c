import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  type CursorSnapshot,
  formatCursor,
  installationTag,
  nowhere,
  parseCursor,
} from '../protocol/cursor.ts';

/** Letters of base64url: 96 bits. */
const MAC_LENGTH = 16;

/**
 * The cursors that this installation gives to clients. Each is signed: a client that could make one
 * of its own would have days of the log read for it.
 *
 * `<place>~<mac>.<installation>`: protocol/cursor.ts has the others; the mac is the start of their
 * HMAC-SHA256 by a key of rowcast.installation. The key before it is taken as well, so that
 * rowcast.rotate_cursor_key() voids nobody's cursor at once.
 */
export class CursorTokens {
  readonly #installation: string;
  readonly #keys: CursorKeys;

  /** @param installation uuid */
  constructor(installation: string, keys: CursorKeys) {
    this.#installation = installationTag(installation);
    this.#keys = keys;
  }

  format(snapshot: CursorSnapshot): string {
    const text = formatCursor(snapshot, this.#installation);
    return text.replace('.', `~${mac(text, this.#keys.current)}.`);
  }

  /** See protocol/cursor.ts: a client that comes back with it is told to fetch. */
  nowhere(): string {
    return nowhere(this.#installation);
  }

  /** Null for a token that this installation has not given, or that names no place. */
  parse(token: string): CursorSnapshot | null {
    const [, place, given, installation] = /^([\d-]+)~([\w-]+)\.(\w+)$/.exec(token) ?? [];
    if (!given || installation !== this.#installation) return null;
    const text = `${place}.${installation}`;
    const { current, former } = this.#keys;
    if (!isMac(given, text, current) && !(former && isMac(given, text, former))) return null;
    return parseCursor(token)?.snapshot ?? null;
  }
}

export interface CursorKeys {
  readonly current: Buffer;
  /** Null before the first rotation. */
  readonly former: Buffer | null;
}

function mac(text: string, key: Buffer): string {
  return createHmac('sha256', key).update(text).digest('base64url').slice(0, MAC_LENGTH);
}

function isMac(given: string, text: string, key: Buffer): boolean {
  const expected = Buffer.from(mac(text, key));
  const offered = Buffer.from(given);
  return offered.length === expected.length && timingSafeEqual(offered, expected);
}
