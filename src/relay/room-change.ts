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
 * Null where something else has changed, or the connection was not live: then it is replayed to as
 * one that fell behind.
 * @param former its recipient before; a change that is not over is part of the new one
 * @param upTo the place up to which it has had everything
 */
export function roomChangeOf(
  former: Former,
  connection: Connection,
  upTo: Snapshot,
): RoomChange | null {
  const { connection: before, standing } = former;
  const { stage, roomChange } = standing;
  // Nobody waits for an answer to a change that another hand has made.
  if (!hasSameRest(before, connection) || connection.wantedAt === before.wantedAt) return null;
  if (stage !== 'live' && !roomChange) return null;
  const known = new Set(termsOf(before));
  const isGained = (term: string) => !known.has(term) || roomChange?.gained.has(term);
  return {
    upTo: roomChange?.upTo ?? upTo,
    gained: new Set(termsOf(connection).filter(isGained)),
  };
}

/** As much of a recipient as is needed. */
interface Former {
  readonly connection: Connection;
  readonly standing: { readonly stage: string; readonly roomChange: RoomChange | null };
}

/** The connection had the event before it joined other rooms. */
export function hadBefore(
  change: RoomChange | null,
  xid: bigint,
  audience: readonly string[],
): boolean {
  return !!change?.upTo.sees(xid) && !audience.some((term) => change.gained.has(normalTerm(term)));
}
