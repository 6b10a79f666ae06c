import type { Connection } from '../connections/connection.ts';
import type { LoggedEvent } from '../log/logged-event.ts';
import { DISCONNECT } from '../protocol/frame.ts';

/** The event is one of rowcast.disconnect(): it closes connections, and is a message to none. */
export function isDisconnect({ type }: LoggedEvent): boolean {
  return type === DISCONNECT;
}

/**
 * A connection that was made after the call, or has joined the room that it names after it, stays:
 * whoever comes back with an old cursor is replayed the event, too. (One clock is API Gateway's,
 * the other Postgres's.)
 */
export function closes(
  { timestamp, audience }: Pick<LoggedEvent, 'timestamp' | 'audience'>,
  { connectedAt, roomsSince }: Connection,
): boolean {
  const sinceMs = roomsSince?.get((audience[0] ?? '').replace(/^room:/, '')) ?? connectedAt;
  return sinceMs < Number(timestamp);
}
