/**
 * The token by which a client says how far it got, opaque to clients: `<xmin>[-<span>[<gaps>]].<installation>`.
 *
 * It is the snapshot at which the frame's window *starts*: what that sees was delivered in earlier windows. (With
 * the window's end, a client cut off between two frames of one window would never get the second.) Resuming
 * repeats at most a few windows, and the client drops those by id.
 *
 * The token is exact. span is xmax - xmin. Each gap is the distance of a transaction in flight from the one before it
 * (the first from xmin): a letter for 0 to 25, `_` and the number otherwise; a number after a letter says how often it
 * stands there. So five thousand writers in a row are six characters. An approximation would lie before the connection that it is given to, and a replay from there would
 * bring back rows whose DELETE the client has had.
 */

/** Transactions below xmin, and those below xmax that are not in xip, were delivered (or rolled back). */
export interface CursorSnapshot {
  readonly xmin: bigint;
  readonly xmax: bigint;
  readonly xip: readonly bigint[];
}

export interface ClientCursor {
  readonly snapshot: CursorSnapshot;
  /** First part of the installation's uuid: a cursor of another database says nothing here. */
  readonly installation: string;
}

const TOKEN = /^([1-9]\d{0,18})(?:-(\d{1,18})((?:[a-z]\d{0,4}|_\d{1,18})*))?\.([0-9a-f]{8})$/;
const GAP = /([a-z])(\d*)|_(\d+)/g;
const A = 97;
const LETTERS = 26n;
const RUN = /([a-z])\1{2,9998}/g;

/** Tokens travel in a URL, of which API Gateway takes 4,096 bytes: a longer one names no place. */
export const MAX_CURSOR_LENGTH = 3000;

/** More than Postgres has connections for. */
const MAX_IN_FLIGHT = 20_000;

export function formatCursor({ xmin, xmax, xip }: CursorSnapshot, installation: string): string {
  if (xmax === xmin) return `${xmin}.${installation}`;
  let previous = xmin;
  let gaps = '';
  for (const xid of xip) {
    const gap = xid - previous;
    gaps += gap < LETTERS ? String.fromCharCode(A + Number(gap)) : `_${gap}`;
    previous = xid;
  }
  const runs = gaps.replace(RUN, (run, letter) => `${letter}${run.length}`);
  const token = `${xmin}-${xmax - xmin}${runs}.${installation}`;
  return token.length <= MAX_CURSOR_LENGTH ? token : nowhere(installation);
}

/** A token that names no place in the log: a client that comes back with it hears `recovered: false`. */
export function nowhere(installation: string): string {
  return `0.${installation}`;
}

/** Null for a token that names no place: the client is then told `recovered: false`, never refused. */
export function parseCursor(token: string): ClientCursor | null {
  const match = TOKEN.exec(token);
  if (!match) return null;
  const [, first, span = '0', gaps = '', installation] = match as unknown as [string, string, string, string, string];
  const xmin = BigInt(first);
  const xmax = xmin + BigInt(span);
  const xip: bigint[] = [];
  for (const [, letter, times, number = '0'] of gaps.matchAll(GAP)) {
    const distance = letter ? BigInt(letter.charCodeAt(0) - A) : BigInt(number);
    for (let i = Number(times || 1); i > 0; i--) {
      const xid = (xip.at(-1) ?? xmin) + distance;
      // A forged token may say anything: what is in flight lies between, each once.
      if (xid >= xmax || (xip.length > 0 && distance === 0n) || xip.length === MAX_IN_FLIGHT) return null;
      xip.push(xid);
    }
  }
  return { snapshot: { xmin, xmax, xip }, installation };
}

/** The part of an installation's uuid that its tokens carry. */
export function installationTag(uuid: string): string {
  return uuid.slice(0, 8);
}
