/**
 * The token by which a client says how far it got: `<xmin>.<installation>`, for clients opaque.
 *
 * xmin is that of the snapshot at which the frame's window *starts*: every transaction below it was
 * delivered in earlier windows. (With the window's end, a client cut off between two frames of one window
 * would never get the second.) Resuming repeats at most one window, and the client drops those by id.
 */

export interface ClientCursor {
  /** Transactions with an xid below this were delivered, or rolled back. */
  readonly xmin: bigint;
  /** First part of the installation's uuid: a cursor of another database says nothing here. */
  readonly installation: string;
}

const TOKEN = /^(\d{1,19})\.([0-9a-f]{8})$/;

/** Tokens are stored with the connection: anything longer is no token of ours. */
export const MAX_CURSOR_LENGTH = 64;

export function formatCursor(cursor: ClientCursor): string {
  return `${cursor.xmin}.${cursor.installation}`;
}

/** Null for what is no token: the client is then told `recovered: false`, never refused. */
export function parseCursor(token: string): ClientCursor | null {
  const match = TOKEN.exec(token);
  return match ? { xmin: BigInt(match[1] as string), installation: match[2] as string } : null;
}

/** The part of an installation's uuid that its tokens carry. */
export function installationTag(uuid: string): string {
  return uuid.slice(0, 8);
}
