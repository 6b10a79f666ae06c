/** Names of rooms and roles: what a token may hold, a client ask for and a term of the log name. */

/** A hundred rooms and roles of this length are 26 kB of an item's 400 kB. */
export const MAX_NAMES = 100;
/** In UTF-8. */
export const MAX_NAME_BYTES = 128;

/** Half a surrogate pair, which JSON can hold and UTF-8 cannot. */
const HALF_A_PAIR = /\p{Surrogate}/u;

const UTF8 = new TextEncoder();

/** UTF-8, or Postgres (a NUL), has no such text. */
export function isBroken(name: string): boolean {
  return name.includes('\0') || HALF_A_PAIR.test(name);
}

export function fitsTerm(name: string): boolean {
  return UTF8.encode(name).length <= MAX_NAME_BYTES && !isBroken(name);
}

/** `lobby, team-7` as a list, each name once. */
export function namesIn(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  return [...new Set(names.filter((name) => name !== ''))];
}
