import type { Connection } from '../../src/connections/connection.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import type { SimulatedClient } from './client.ts';
import type { CursorRow, Row } from './postgres.ts';

interface Named {
  readonly pinned?: Readonly<Record<string, readonly string[]>>;
  readonly served?: readonly string[];
  readonly unserved?: readonly string[];
}

/** Whether everything up to there, of the window that is read page by page, includes the row. */
function isPassed(row: Row, position: Snapshot, cursor: CursorRow | null): boolean {
  if (position.sees(row.xid)) return true;
  if (!cursor?.until || !cursor.after_id) return false;
  return Snapshot.parse(cursor.until).sees(row.xid) && row.id <= BigInt(cursor.after_id);
}

/**
 * Where the next leader would go on with a connection, by the cursor's row alone: written down here
 * a second time, from design and not from code.
 * @returns null where it replays from the client's own cursor
 */
function continuesFrom(
  { connectionId, connectedAt }: Connection,
  cursor: CursorRow,
): { position: Snapshot; cursor: CursorRow | null } | null {
  const name = `${connectedAt} ${connectionId}`;
  const { pinned = {}, served = [], unserved = [] } = JSON.parse(cursor.exceptions) as Named;
  for (const [pin, names] of Object.entries(pinned))
    if (names.includes(name)) return { position: Snapshot.parse(pin), cursor: null };
  const isServed =
    connectedAt < cursor.served_until ? !unserved.includes(name) : served.includes(name);
  return isServed ? { position: Snapshot.parse(cursor.snapshot), cursor } : null;
}

/**
 * The committed row is not ahead of what an open connection has: were a relay to take over from it
 * now, nothing would be lost.
 * @returns what is wrong, or null
 */
export function aheadOf(
  client: SimulatedClient,
  cursor: CursorRow,
  rows: readonly Row[],
): string | null {
  const { connection } = client;
  // An expired connection counts until its socket is closed: its next cursor must not be ahead.
  if (!connection || !client.isAttached) return null;
  const next = continuesFrom(connection, cursor);
  if (!next) return null;
  const passed = rows.filter((row) => isPassed(row, next.position, next.cursor));
  const [missing] = client.missing(passed);
  if (!missing) return null;
  return `the cursor is ahead of ${client.userId} (${connection.connectionId}), which is missing ${missing.id} (xid ${missing.xid})`;
}
