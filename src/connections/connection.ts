import { MAX_CURSOR_LENGTH } from '../protocol/cursor.ts';
import { isBroken } from './names.ts';
import { judge, roomsIn } from './rooms.ts';

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
  /** The patterns of rooms that its token allows; see rooms.ts. */
  readonly allowed?: readonly string[];
  /** Rooms that its client asked for last, by comma: `rooms` are those of them that it may have. */
  readonly wanted?: string;
  /** When it asked on the open socket, epoch ms by API Gateway. Each time it gets an answer. */
  readonly wantedAt?: number;
  /** The others of those that it asked for; not stored. */
  readonly refused?: readonly string[];
  /** When it asked for rooms that it had not from the beginning, epoch ms; not stored. */
  readonly roomsSince?: ReadonlyMap<string, number>;
  /** JSON text for others in its rooms, about its user. */
  readonly info?: string;
  /** The cursor that the client resumes from; see protocol/cursor.ts. */
  readonly cursor?: string;
  /** The client unpacks BATCH frames. */
  readonly batch?: boolean;
  /** Stored where connections of an address are counted; the relay has no use for it. */
  readonly address?: string;
}

/** The item in DynamoDB, where a set is absent instead of empty. */
export function toItem(connection: Connection): Record<string, unknown> {
  const { rooms, roles, allowed, refused, roomsSince, cursor, batch, ...required } = connection;
  return {
    ...required,
    ...(rooms?.length ? { rooms: new Set(rooms) } : {}),
    ...(roles?.length ? { roles: new Set(roles) } : {}),
    ...(allowed?.length ? { allowed: new Set(allowed) } : {}),
    ...(cursor ? { cursor } : {}),
    ...(batch ? { batch } : {}),
  };
}

/**
 * Null for an item that is no connection: another writer's, half-written, or made to harm. It must
 * not stop the others.
 */
export function fromItem(item: Record<string, unknown>): Connection | null {
  const { connectionId, userId, connectedAt, ttl, rooms, roles, allowed, cursor, batch } = item;
  if (typeof connectionId !== 'string' || !CONNECTION_ID.test(connectionId)) return null;
  if (!isName(userId)) return null;
  if (!isTime(connectedAt, Date.now() + CLOCK_AHEAD_MS) || !isTime(ttl, MAX_TTL)) return null;
  if (!areNames(rooms) || !areNames(roles) || !areNames(allowed)) return null;
  if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > MAX_CURSOR_LENGTH))
    return null;
  if (batch !== undefined && typeof batch !== 'boolean') return null;
  return {
    connectionId,
    userId,
    connectedAt,
    ttl,
    ...(rooms ? { rooms: [...rooms] } : {}),
    ...(roles ? { roles: [...roles] } : {}),
    ...(allowed ? { allowed: [...allowed] } : {}),
    ...roomsWanted(item, [...(rooms ?? [])], [...(allowed ?? [])]),
    ...storedInfo(item.info),
    ...(cursor === undefined ? {} : { cursor }),
    ...(batch ? { batch } : {}),
  };
}

/** The client's own words: nothing in them makes the item one that is no connection. */
function roomsWanted(
  { wanted, wantedAt }: Record<string, unknown>,
  atFirst: readonly string[],
  patterns: readonly string[],
): Partial<Connection> {
  if (typeof wanted !== 'string') return {};
  const { rooms, refused } = judge(roomsIn(wanted), { names: atFirst, patterns });
  if (!isTime(wantedAt, Date.now() + CLOCK_AHEAD_MS)) return { wanted, rooms, refused };
  const later = rooms.filter((room) => !atFirst.includes(room));
  const roomsSince = new Map(later.map((room) => [room, wantedAt]));
  return { wanted, wantedAt, rooms, refused, roomsSince };
}

/**
 * As JSON text. Undefined where that is too large to be sent to everybody in a room, or holds a
 * character that Postgres has none for.
 */
export function infoText(info: unknown): string | undefined {
  const text = JSON.stringify(info) as string | undefined;
  if (text === undefined || NO_CHARACTER.test(text)) return undefined;
  return new TextEncoder().encode(text).length <= MAX_INFO_BYTES ? text : undefined;
}

function storedInfo(value: unknown): { readonly info?: string } {
  if (typeof value !== 'string' || value.length > MAX_INFO_BYTES) return {};
  try {
    const info = infoText(JSON.parse(value));
    return info === undefined ? {} : { info };
  } catch {
    return {};
  }
}

/** Rooms that it was in before, it has been in since then. */
export function keepRoomsSince(before: Connection, now: Connection): Connection {
  if (!now.roomsSince) return now;
  const since = [...now.roomsSince].map(([room, ms]) => {
    const was = before.rooms?.includes(room);
    return [room, was ? (before.roomsSince?.get(room) ?? before.connectedAt) : ms] as const;
  });
  return { ...now, roomsSince: new Map(since) };
}

/** API Gateway's are base64; nothing in it means anything in a path or a header. */
const CONNECTION_ID = /^[\w+/=-]{1,128}$/;

/** In UTF-8, of JSON text. */
export const MAX_INFO_BYTES = 512;

/** A NUL, or half a surrogate pair, as JSON.stringify writes them. */
const NO_CHARACTER = /\\u(0000|d[89a-f])/;

/** More than lambdas/identity.ts lets in. */
const MAX_NAME_LENGTH = 1000;
const MAX_NAMES = 1000;

/** Clocks differ, but not by that much. A connection of next year would hold up takeovers. */
const CLOCK_AHEAD_MS = 3_600_000;

/** Epoch seconds. Later ones are milliseconds, or nonsense. */
const MAX_TTL = 100_000_000_000;

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_NAME_LENGTH && !isBroken(value);
}

function isTime(value: unknown, latest: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= latest;
}

/** A string set, or none. */
function areNames(value: unknown): value is ReadonlySet<string> | undefined {
  return (
    value === undefined ||
    (value instanceof Set && value.size <= MAX_NAMES && [...value].every(isName))
  );
}

/**
 * Nothing has changed of who it is, what it may see and in which form, and it has asked for no
 * rooms since. Its cursor counts only as it joins.
 */
export function hasSameAudience(one: Connection, other: Connection): boolean {
  return hasSameRest(one, other) && one.wantedAt === other.wantedAt && hasSameRooms(one, other);
}

export function hasSameRooms(one: Connection, other: Connection): boolean {
  return hasSame(one.rooms, other.rooms);
}

/** It is the same but for its rooms. */
export function hasSameRest(one: Connection, other: Connection): boolean {
  return (
    one.userId === other.userId && one.batch === other.batch && hasSame(one.roles, other.roles)
  );
}

/** In whatever order: DynamoDB's sets have none. */
function hasSame(one: readonly string[] = [], other: readonly string[] = []): boolean {
  return (
    one.length === other.length &&
    one.every((name, at) => other[at] === name || other.includes(name))
  );
}
