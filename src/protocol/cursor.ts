/**
 * The token by which a client says how far it got, opaque to clients: `<xmin>[-<span>[-<n>…]].<installation>`.
 *
 * It is the snapshot at which the frame's window *starts*: what that sees was delivered in earlier windows. (With
 * the window's end, a client cut off between two frames of one window would never get the second.) Resuming
 * repeats at most one window, and the client drops those by id.
 *
 * span is xmax - xmin, and each n is the distance of a transaction in flight from xmin: a transaction that stays open
 * for hours pins xmin, and clients that come back must not be sent those hours again. With many in flight xmin
 * alone has to do.
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

const TOKEN = /^([1-9]\d{0,18})((?:-\d{1,18})*)\.([0-9a-f]{8})$/;

/** More than these in flight are not named. */
const MAX_IN_FLIGHT = 8;

/** Tokens are stored with the connection: anything longer is no token of ours. */
export const MAX_CURSOR_LENGTH = 200;

export function formatCursor(snapshot: CursorSnapshot, installation: string): string {
  const { xmin, xmax, xip } = snapshot;
  const distances = xmax === xmin || xip.length > MAX_IN_FLIGHT ? [] : [xmax, ...xip].map((xid) => `-${xid - xmin}`);
  return `${xmin}${distances.join('')}.${installation}`;
}

/** Null for what is no token: the client is then told `recovered: false`, never refused. */
export function parseCursor(token: string): ClientCursor | null {
  const match = TOKEN.exec(token);
  if (!match) return null;
  const [, first, rest, installation] = match as unknown as [string, string, string, string];
  const xmin = BigInt(first);
  const [xmax = xmin, ...xip] = rest
    .split('-')
    .slice(1)
    .map((distance) => xmin + BigInt(distance));
  // Whoever writes tokens of his own may write nonsense: in flight is what lies between, each once.
  const inOrder = xip.every((xid, i) => xid < xmax && (i === 0 || xid > (xip[i - 1] as bigint)));
  return inOrder ? { snapshot: { xmin, xmax, xip }, installation } : null;
}

/** The part of an installation's uuid that its tokens carry. */
export function installationTag(uuid: string): string {
  return uuid.slice(0, 8);
}
