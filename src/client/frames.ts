import { BATCH_START } from '../protocol/frame.ts';

/** A user who is in a room. */
export interface PresentUser<Info = unknown> {
  /** Connections in the room, as of when the user came. */
  readonly n: number;
  /** The part of the user's token that is for others. */
  readonly info?: Info;
}

/**
 * A frame as it comes: an event, READY, pong, or what a gateway answers to nonsense (without a
 * type).
 */
export interface Frame {
  readonly type?: string;
  readonly id?: string;
  readonly data?: unknown;
  readonly truncated?: boolean;
  readonly fetched?: boolean;
  readonly tx?: string;
  readonly cursor?: string;
  readonly recovered?: boolean;
  /** ROOMS: what was asked for, and what of it was granted and not. */
  readonly wanted?: string;
  readonly rooms?: readonly string[];
  readonly refused?: readonly string[];
  /** PRESENCE: all who are in the room, or who has come and gone since the number before. */
  readonly room?: string;
  readonly seq?: number;
  readonly users?: Readonly<Record<string, PresentUser>>;
  readonly count?: number;
  readonly join?: Readonly<Record<string, PresentUser>>;
  readonly leave?: readonly string[];
  /** Why the connection is closed, where somebody has called rowcast.disconnect(). */
  readonly reason?: string | null;
}

/**
 * The frames of one WebSocket message, batches unpacked; none where it is not JSON.
 * @param dataAsText leaves `data` and `old` as the text that Postgres printed, every digit of it
 */
export function framesOf(message: string, dataAsText: boolean): readonly Frame[] {
  try {
    if (dataAsText) {
      if (!message.startsWith(BATCH_START)) return [frameWithText(message)];
      return elements(message, BATCH_START.length).map(frameWithText);
    }
    const frame = JSON.parse(message) as Frame & { events?: Frame[] };
    return (frame.events ?? [frame]).filter(Boolean);
  } catch {
    return [];
  }
}

function frameWithText(frame: string): Frame {
  const members = elements(frame, 1).map((member) => {
    const colon = valueEnd(member, 0);
    const name = JSON.parse(member.slice(0, colon)) as string;
    const value = member.slice(colon + 1);
    return [name, name === 'data' || name === 'old' ? value : JSON.parse(value)] as const;
  });
  return Object.fromEntries(members) as Frame;
}

/**
 * The texts between commas from `start` to the bracket that closes. The relay puts no space around
 * its own commas and colons.
 */
function elements(text: string, start: number): string[] {
  const found: string[] = [];
  for (let from = start; from < text.length; ) {
    let end = valueEnd(text, from);
    if (text[end] === ':') end = valueEnd(text, end + 1);
    found.push(text.slice(from, end));
    if (text[end] !== ',') break;
    from = end + 1;
  }
  return found;
}

/** Where the JSON value that begins at `from` ends, white space around it included. */
function valueEnd(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const character = text[i] as string;
    if (character === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++;
    } else if ('{['.includes(character)) depth++;
    else if ('}]'.includes(character)) {
      if (depth === 0) return i;
      depth--;
    } else if (depth === 0 && ',:'.includes(character)) return i;
  }
  return text.length;
}
