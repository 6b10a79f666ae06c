import { fitsTerm, isBroken, MAX_NAME_BYTES, MAX_NAMES } from '../connections/names.ts';

/** In UTF-8, so that a term of the log (rowcast.max_term_bytes()) can name every user. */
const MAX_USER_ID_BYTES = 190;

export type Authentication =
  | { readonly allowed: true; readonly identity: Identity }
  | { readonly allowed: false; readonly status: 401 | 403 | 500; readonly reason: string };

export interface Identity {
  readonly userId: string;
  readonly rooms: readonly string[];
  readonly roles: readonly string[];
  /** Patterns of the rooms that the token allows; see connections/rooms.ts. */
  readonly allowed: readonly string[];
  /** For others in its rooms, about the user: any JSON. */
  readonly info?: unknown;
  /** Rooms that it asked for, where it may not have all of them. */
  readonly wanted?: readonly string[];
  /** Epoch seconds of the token's end. */
  readonly expiresAt?: number;
}

/** In NFC. Refuses what the table cannot hold or a term of the log cannot name. */
export function withinLimits(given: Identity): Authentication {
  const identity = {
    ...given,
    userId: given.userId.normalize('NFC'),
    rooms: given.rooms.map((room) => room.normalize('NFC')),
    roles: given.roles.map((role) => role.normalize('NFC')),
  };
  const { userId, rooms, roles } = identity;
  const refuse = (reason: string): Authentication => ({ allowed: false, status: 403, reason });
  if (Buffer.byteLength(userId) > MAX_USER_ID_BYTES || isBroken(userId))
    return refuse(`a user id is text of at most ${MAX_USER_ID_BYTES} bytes: ${shown(userId)}`);
  for (const [kind, names] of [['room', rooms] as const, ['role', roles] as const]) {
    if (names.length > MAX_NAMES)
      return refuse(`${names.length} ${kind}s; a connection has at most ${MAX_NAMES}`);
    const wrong = names.find((name) => !fitsTerm(name));
    if (wrong !== undefined)
      return refuse(
        `the name of a ${kind} is text of at most ${MAX_NAME_BYTES} bytes: ${shown(wrong)}`,
      );
  }
  return { allowed: true, identity };
}

export function shown(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}
