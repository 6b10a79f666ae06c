import { type Connection, hasSameRest } from '../connections/connection.ts';
import type { Snapshot } from '../log/snapshot.ts';
import { normalTerm, termsOf } from '../protocol/audience.ts';

/**
 * A connection that was live has asked for other rooms. It goes on from where it was, and of the
 * rooms that it has joined it also gets what was committed since it asked; a ROOMS frame says that
 * it has all of that, and no READY.
 */
export interface RoomChange {
  /** It has everything up to there that was for its former audience. */
  readonly upTo: Snapshot;
  /** The terms of rooms that it has joined. */
  readonly gained: ReadonlySet<string>;
}

/**
 * Undefined where something else has changed, or was: then it is replayed to as a connection that
 * fell behind.
 * @param former.roomChange of an earlier wish, whose replay is not over
 * @param upTo the place up to which it has had everything
 */
export function roomChangeOf(
  former: { connection: Connection; isLive: boolean; roomChange: RoomChange | undefined },
  connection: Connection,
  upTo: Snapshot,
): RoomChange | undefined {
  const { connection: before, isLive, roomChange } = former;
  // Nobody waits for an answer to a change that another hand has made.
  if (!hasSameRest(before, connection) || connection.wantedAt === before.wantedAt) return undefined;
  if (!isLive && !roomChange) return undefined;
  const known = new Set(termsOf(before));
  const isGained = (term: string) => !known.has(term) || roomChange?.gained.has(term);
  return {
    upTo: roomChange?.upTo ?? upTo,
    gained: new Set(termsOf(connection).filter(isGained)),
  };
}

/** The connection had the event before it joined other rooms. */
export function hadBefore(
  change: RoomChange | undefined,
  xid: bigint,
  audience: readonly string[],
): boolean {
  return !!change?.upTo.sees(xid) && !audience.some((term) => change.gained.has(normalTerm(term)));
}
