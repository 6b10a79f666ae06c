/**
 * The token by which a client says how far it got, opaque to clients:
 * `<xmin>[-<span>[-<gap>…]].<installation>`, and the relay's signature before the point
 * (relay/cursor-tokens.ts).
 *
 * It is the snapshot at which the frame's window *starts*: what that sees was delivered in earlier
 * windows. (With the window's end, a client cut off between two frames of one window would never
 * get the second.) Resuming repeats at most a few windows, and the client drops those by id.
 *
 * The token is exact. span is xmax - xmin. Each gap is the distance of a transaction in flight from
 * the one before it (the first from xmin); `0-<n>-<gap>` stands for a gap n times, so that five
 * thousand writers in a row are one. An approximation would lie before the connection that it is
 * given to, and a replay from there would bring back rows whose DELETE the client has had.
 */

/**
 * Transactions below xmin, and those below xmax that are not in xip, were delivered (or rolled
 * back).
 */
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

const TOKEN = /^([1-9]\d{0,18})((?:-\d{1,18})*)(?:~[\w-]{16})?\.([0-9a-f]{8})$/;

/** Shorter runs are written out. */
const LEAST_RUN = 3;

/** Tokens travel in a URL, of which API Gateway takes 4,096 bytes: a longer one names no place. */
export const MAX_CURSOR_LENGTH = 3000;

/** The signature with its sign, a point, and the first eight digits of a uuid. */
const TAG_LENGTH = 26;

/** More than Postgres has connections for. */
const MAX_IN_FLIGHT = 20_000;

export function formatCursor({ xmin, xmax, xip }: CursorSnapshot, installation: string): string {
  if (xmax === xmin) return `${xmin}.${installation}`;
  let token = `${xmin}-${xmax - xmin}`;
  for (let i = 0; i < xip.length; ) {
    const gap = gapAt(xip, i, xmin);
    let end = i + 1;
    while (i > 0 && end < xip.length && gapAt(xip, end, xmin) === gap) end++;
    if (end - i >= LEAST_RUN) token += `-0-${end - i}-${gap}`;
    else for (; i < end; i++) token += `-${gap}`;
    i = end;
  }
  return token.length <= MAX_CURSOR_LENGTH - TAG_LENGTH
    ? `${token}.${installation}`
    : nowhere(installation);
}

function gapAt(xip: readonly bigint[], i: number, xmin: bigint): bigint {
  return (xip[i] as bigint) - (xip[i - 1] ?? xmin);
}

/**
 * A token that names no place in the log: a client that comes back with it hears `recovered:
 * false`.
 */
export function nowhere(installation: string): string {
  return `0.${installation}`;
}

/**
 * Null for a token that names no place: the client is then told `recovered: false`, never refused.
 * Says nothing of the signature.
 */
export function parseCursor(token: string): ClientCursor | null {
  const match = TOKEN.exec(token);
  if (!match) return null;
  const [, first, rest, installation] = match as unknown as [string, string, string, string];
  const [span = 0n, ...gaps] = rest.split('-').slice(1).map(BigInt);
  const xmin = BigInt(first);
  const xmax = xmin + span;
  const xip: bigint[] = [];
  let xid = xmin;
  for (let i = 0; i < gaps.length; i++) {
    let gap = gaps[i] as bigint;
    let times = 1n;
    if (i > 0 && !gap) {
      times = gaps[++i] ?? 0n;
      gap = gaps[++i] ?? 0n;
    }
    for (; times > 0n; times--) {
      xid += gap;
      // A forged token may say anything: what is in flight lies between, each once.
      if (xid >= xmax || xid === xip.at(-1) || xip.push(xid) > MAX_IN_FLIGHT) return null;
    }
  }
  return { snapshot: { xmin, xmax, xip }, installation };
}

/** The part of an installation's uuid that its tokens carry. */
export function installationTag(uuid: string): string {
  return uuid.slice(0, 8);
}
