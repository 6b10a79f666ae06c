/**
 * One open WebSocket connection, as the `$connect` Lambda stores it and the relay reads it
 * (docs/architecture.md, "The table"). Items that hold only the first four attributes work too.
 */
export interface Connection {
  readonly connectionId: string;
  readonly userId: string;
  /** Epoch milliseconds, from API Gateway. */
  readonly connectedAt: number;
  /**
   * Epoch seconds; past it the connection counts as gone, however late DynamoDB deletes the item.
   */
  readonly ttl: number;
  readonly rooms?: readonly string[];
  readonly roles?: readonly string[];
  /** The cursor that the client resumes from; see protocol/cursor.ts. */
  readonly cursor?: string;
  /** The client unpacks BATCH frames. */
  readonly batch?: boolean;
}

/** The item in DynamoDB, where a set is absent instead of empty. */
export function toItem(connection: Connection): Record<string, unknown> {
  const { rooms, roles, cursor, batch, ...required } = connection;
  return {
    ...required,
    ...(rooms?.length ? { rooms: new Set(rooms) } : {}),
    ...(roles?.length ? { roles: new Set(roles) } : {}),
    ...(cursor ? { cursor } : {}),
    ...(batch ? { batch } : {}),
  };
}

/**
 * Null for an item that is no connection (another writer's, or half-written): it must not stop the
 * others.
 */
export function fromItem(item: Record<string, unknown>): Connection | null {
  const { connectionId, userId, connectedAt, ttl, rooms, roles, cursor, batch } = item;
  if (typeof connectionId !== 'string' || typeof userId !== 'string') return null;
  if (typeof connectedAt !== 'number' || typeof ttl !== 'number') return null;
  if (connectionId === '' || BROKEN_TEXT.test(connectionId)) return null;
  return {
    connectionId,
    userId,
    connectedAt,
    ttl,
    ...(rooms instanceof Set ? { rooms: strings(rooms) } : {}),
    ...(roles instanceof Set ? { roles: strings(roles) } : {}),
    ...(typeof cursor === 'string' ? { cursor } : {}),
    ...(batch === true ? { batch } : {}),
  };
}

/** Half a surrogate pair, which no URL can hold. */
const BROKEN_TEXT = /\p{Surrogate}/u;

/**
 * Nothing has changed of who it is, what it may see and in which form. Its cursor counts only as it
 * joins.
 */
export function hasSameAudience(one: Connection, other: Connection): boolean {
  return (
    one.userId === other.userId &&
    one.batch === other.batch &&
    hasSame(one.rooms, other.rooms) &&
    hasSame(one.roles, other.roles)
  );
}

/** In whatever order: DynamoDB's sets have none. */
function hasSame(one: readonly string[] = [], other: readonly string[] = []): boolean {
  return (
    one.length === other.length &&
    one.every((name, at) => other[at] === name || other.includes(name))
  );
}

function strings(set: Set<unknown>): string[] {
  return [...set].filter((member) => typeof member === 'string');
}
