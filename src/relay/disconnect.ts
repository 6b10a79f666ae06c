import type { Connection } from '../connections/connection.ts';
import type { LoggedEvent } from '../log/logged-event.ts';
import { DISCONNECT } from '../protocol/frame.ts';

/** The event is one of rowcast.disconnect(): it closes connections, and is a message to none. */
export function isDisconnect({ type }: LoggedEvent): boolean {
  return type === DISCONNECT;
}

/**
 * A connection that was made after the call stays: whoever comes back with an old cursor is
 * replayed the event, too. (One clock is API Gateway's, the other Postgres's.)
 */
export function closes(
  { timestamp }: Pick<LoggedEvent, 'timestamp'>,
  { connectedAt }: Connection,
): boolean {
  return connectedAt < Number(timestamp);
}
