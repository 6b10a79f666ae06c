import { type Frame, framesOf } from '../../client/frames.ts';

/** The wire: all that has come over it on this page, and until when it is cut. */

/** A WebSocket message. */
export interface SeenMessage {
  readonly number: number;
  readonly atMs: number;
  readonly bytes: number;
  readonly frames: readonly Frame[];
}

const MAX_SEEN = 100;
const MAX_IDS = 10_000;

let seen: readonly SeenMessage[] = [];
let cutUntil = 0;
let scheduled = false;
const heard = new Set<string>();
const replayed = new Set<string>();
const listeners = new Set<() => void>();
const sockets = new Set<WebSocket>();

/** The newest first. */
export const seenMessages = (): readonly SeenMessage[] => seen;
/** It was missed before, and came when the connection was back. */
export const isReplayed = (eventId: string | undefined): boolean => replayed.has(eventId ?? '');
export const cutLeftMs = (): number => Math.max(0, cutUntil - Date.now());

export function onSeen(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** The browser's own, heard before the client hears it. None opens while the wire is cut. */
export class HeardWebSocket extends WebSocket {
  /** From a cursor until READY, what comes was missed before. */
  #replays: boolean;

  constructor(url: string, protocols?: string[]) {
    if (cutLeftMs() > 0) throw new Error('the connection is cut');
    super(url, protocols);
    this.#replays = new URL(url).searchParams.has('cursor');
    sockets.add(this);
    this.addEventListener('close', () => sockets.delete(this));
    this.addEventListener('message', ({ data }: MessageEvent<string>) => this.#hear(data));
  }

  #hear(text: string): void {
    const frames = framesOf(text, false);
    for (const { type, id } of frames) {
      if (type === 'READY') this.#replays = false;
      // A replay repeats some that had come.
      if (id && this.#replays && !heard.has(id)) replayed.add(id);
      if (id) heard.add(id);
    }
    for (const ids of [heard, replayed]) if (ids.size > MAX_IDS) ids.clear();
    const number = (seen[0]?.number ?? 0) + 1;
    const bytes = new Blob([text]).size;
    seen = [{ number, atMs: Date.now(), bytes, frames }, ...seen].slice(0, MAX_SEEN);
    tell();
  }
}

/** Once a frame of the screen, however many messages come. */
function tell(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    for (const listener of listeners) listener();
  });
}

export function cutWire(forMs: number): void {
  cutUntil = Date.now() + forMs;
  for (const socket of sockets) {
    // Closed in the middle of its handshake it would look refused.
    if (socket.readyState === WebSocket.CONNECTING)
      socket.addEventListener('open', () => socket.close());
    else socket.close();
  }
}
