import type { Message, MessageOf, Ready } from './message.ts';
import type { RoomPresence } from './presence.ts';

/**
 * - `connecting`: a connection is being made, or waits for its turn
 * - `replaying`: connected; what was missed arrives
 * - `live`: everything committed arrives as it is committed
 * - `offline`: the browser has no network (it is tried all the same, and at once when it is back),
 *   or the feed was closed
 * - `refused`: the server answers and lets this client not in: its token, a room, or too many at
 *   once. Tried again slowly
 */
export type Status = 'connecting' | 'replaying' | 'live' | 'offline' | 'refused';

/** Rooms that were asked for. */
export interface Granted {
  readonly rooms: readonly string[];
  /** The token does not allow them, or they are no names of rooms. */
  readonly refused: readonly string[];
}

/** Iterating over it gives each message from then on, and ends when the feed is closed. */
export interface Feed<Map extends object = Record<string, unknown>>
  extends AsyncIterable<Message<Map>> {
  readonly status: Status;
  /**
   * Where to go on from after a reload: pass it to `connect`. An iterating application keeps the
   * `cursor` of the last message handled.
   */
  readonly cursor: string | undefined;
  /**
   * The last transactions (`maxRememberedIds`) of which messages were delivered, since the feed was
   * last not `recovered`.
   */
  readonly delivered: ReadonlySet<string>;
  /** Messages of one type. Each of these returns a function that stops it. */
  on<Type extends keyof Map & string>(
    type: Type,
    listener: (message: MessageOf<Map, Type>) => void,
  ): () => void;
  onMessage(listener: (message: Message<Map>) => void): () => void;
  /** Fetch what is shown when it is the `first`, or not `recovered`. */
  onReady(listener: (ready: Ready) => void): () => void;
  /** With why it is not live, where something failed. */
  onStatus(listener: (status: Status, error?: FeedError) => void): () => void;
  /**
   * Resolves once the messages of a transaction are here, or the feed says to fetch anew: an
   * optimistic change may go then. At once where they were. Those of a large transaction may come
   * in several WebSocket messages; it waits for the first.
   * @param tx as `Message.tx`; the API that wrote returns it
   * @param timeoutMs rejects after it: nothing that was written may be for this client. Rejects
   * when the feed is closed
   */
  waitFor(tx: string, timeoutMs?: number): Promise<void>;
  /**
   * The rooms to be in from now on, instead of those before. Resolves with what was granted, once
   * all that is committed for them from then on arrives; after a later call with what that was
   * granted. Rejects when the feed is closed.
   */
  setRooms(rooms: readonly string[]): Promise<Granted>;
  /** The rooms that were asked for last, and this one. */
  join(room: string): Promise<Granted>;
  leave(room: string): Promise<Granted>;
  /** Who is in a room that this client is in, where the server watches it. */
  presence<Info = unknown>(room: string): RoomPresence<Info>;
  /**
   * A new connection with a new token, now: after signing in again. For another user, close this
   * feed and make one.
   */
  reconnect(): void;
  close(): void;
}

/**
 * Why the feed is not live. `code`: the status with which the server refused the handshake ('401'),
 * where the WebSocket tells it; `refused` where it does not, as a browser's; `unreachable` where
 * nothing answers, or getToken failed; `lost` for a connection that was open. docs/client.md has
 * the cure of each.
 */
export type FeedError = Error & { readonly code: string };
