import { fitsTerm, MAX_NAMES, namesIn } from './names.ts';

/**
 * Which rooms a connection is in. `$connect` stores what its token allows; its client says what it
 * wants, then or later on the open socket; the relay is the judge.
 */

/** In NFC, as the table has them. */
export function roomsIn(text: string): string[] {
  return namesIn(text.normalize('NFC'));
}

/** Rooms that a token allows, by name and by patterns (`team-*`). */
export interface AllowedRooms {
  readonly names: readonly string[];
  readonly patterns: readonly string[];
}

export function isAllowed(room: string, { names, patterns }: AllowedRooms): boolean {
  return names.includes(room) || patterns.some((pattern) => matches(pattern, room));
}

/** `team-*` allows every room that starts with `team-`. */
function matches(pattern: string, room: string): boolean {
  return pattern.endsWith('*') ? room.startsWith(pattern.slice(0, -1)) : pattern === room;
}

/** As patterns, for the table. A room that is called `team-*` cannot be one of them. */
export function patternsOf({ names, patterns }: AllowedRooms): string[] {
  return [...new Set([...names.filter((name) => !name.endsWith('*')), ...patterns])];
}

export interface Judgement {
  readonly rooms: readonly string[];
  readonly refused: readonly string[];
}

/** Whatever a client wants, it gets an answer, and no other connection suffers. */
export function judge(wanted: readonly string[], allowed: AllowedRooms): Judgement {
  const rooms: string[] = [];
  const refused: string[] = [];
  for (const room of wanted) {
    const isIn = rooms.length < MAX_NAMES && fitsTerm(room) && isAllowed(room, allowed);
    (isIn ? rooms : refused).push(room);
  }
  return { rooms, refused };
}
