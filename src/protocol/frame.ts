/**
 * The frames a client receives (docs/architecture.md, "What a client sees"). A row is text here: it
 * is put into the frame as Postgres printed it and never parsed, so every digit of a bigint or
 * numeric survives.
 */

/** The parts of an event frame; every field but `type` is already JSON text. */
export interface EventFrameParts {
  /** The event's id in the log, in decimal. */
  readonly id: string;
  readonly type: string;
  /** The row as JSON text, or null for an event without one (TRUNCATE). */
  readonly data: string | null;
  /** The row before, as JSON text, where `include_old` asked for it. */
  readonly old: string | null;
  /** Epoch milliseconds in decimal. */
  readonly timestamp: string;
  /** The writer's transaction, in decimal: a list drops what its own snapshot has seen. */
  readonly tx: string;
  /**
   * See cursor.ts: what a client presents to resume from the start of this frame's window; it drops
   * repeats by id.
   */
  readonly cursor: string;
}

/**
 * `{"id":"1842","type":"NEW_MESSAGE","data":{…},"timestamp":1763683200000,"tx":"8401",
 * "cursor":"8401.…"}`
 */
export function eventFrame(event: EventFrameParts): string {
  const old = event.old === null ? '' : `,"old":${event.old}`;
  return `${head(event)},"data":${event.data ?? 'null'}${old}${tail(event)}`;
}

/** The form of a frame that would be too large: the client fetches the row by its key itself. */
export function truncatedFrame(
  event: Omit<EventFrameParts, 'data' | 'old'>,
  key: string | null,
): string {
  return `${head(event)},"truncated":true,"data":${key ?? 'null'}${tail(event)}`;
}

/**
 * From here on everything committed arrives. `recovered` false: the log no longer reaches back to
 * the client's cursor.
 */
export function readyFrame(cursor: string, recovered: boolean): string {
  return `{"type":"READY","cursor":"${cursor}","recovered":${recovered}}`;
}

/**
 * Which rooms a connection is in from here on, by what its client wanted (or its application gave
 * it): everything committed for them arrives.
 */
export function roomsFrame(
  answer: { rooms: readonly string[]; refused: readonly string[]; wanted: string },
  cursor: string,
): string {
  return JSON.stringify({ type: 'ROOMS', ...answer, cursor });
}

/** A user who is in a room. */
export interface Present {
  readonly userId: string;
  /** Connections in the room. */
  readonly connections: number;
  /** JSON text, from the user's token. */
  readonly info: string | undefined;
}

/**
 * `{"type":"PRESENCE","room":"team-7","seq":8,"users":{"42":{"n":2,"info":{"name":"Ann"}}}}`: all
 * who are in a room.
 */
export function presenceFrame(room: string, seq: number, users: Iterable<Present>): string {
  return `${presenceHead(room, seq)},"users":{${presentUsers(users)}}}`;
}

/** Who has joined or left since the frame with the number before; a user may join again anew. */
export function presenceChangeFrame(
  room: string,
  seq: number,
  joined: Iterable<Present>,
  left: readonly string[],
): string {
  return `${presenceHead(room, seq)},"join":{${presentUsers(joined)}},"leave":${JSON.stringify(left)}}`;
}

/** How many there are, in a room of too many to name them. */
export function presenceCountFrame(room: string, seq: number, count: number): string {
  return `${presenceHead(room, seq)},"count":${count}}`;
}

function presenceHead(room: string, seq: number): string {
  return `{"type":"PRESENCE","room":${JSON.stringify(room)},"seq":${seq}`;
}

function presentUsers(users: Iterable<Present>): string {
  return Array.from(users, ({ userId, connections, info }) => {
    const more = info === undefined ? '' : `,"info":${info}`;
    return `${JSON.stringify(userId)}:{"n":${connections}${more}}`;
  }).join();
}

/** The type of the event that rowcast.disconnect() appends, and of the frame that it becomes. */
export const DISCONNECT = 'DISCONNECT';

/** The last frame of a connection: it is closed. @param reason JSON text of a text, or null */
export function disconnectFrame(reason: string | null): string {
  return `{"type":"${DISCONNECT}","reason":${reason ?? 'null'}}`;
}

/**
 * Around what waits for one connection, for clients that asked with `?batch=1`; commas go between
 * the events.
 */
export const BATCH_START = '{"type":"BATCH","events":[';
export const BATCH_END = ']}';

/** UTF-8 bytes that a batch adds around its events, without the commas. */
export const BATCH_OVERHEAD_BYTES = BATCH_START.length + BATCH_END.length;

function head(event: Pick<EventFrameParts, 'id' | 'type'>): string {
  return `{"id":"${event.id}","type":${JSON.stringify(event.type)}`;
}

function tail(event: Pick<EventFrameParts, 'timestamp' | 'tx' | 'cursor'>): string {
  return `,"timestamp":${event.timestamp},"tx":"${event.tx}","cursor":"${event.cursor}"}`;
}
