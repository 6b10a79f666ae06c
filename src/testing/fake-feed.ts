import { connect } from '../client/connect.ts';
import type { Feed } from '../client/feed.ts';
import type { PresentUser } from '../client/frames.ts';
import { type ConnectOptions, roomNames, type WebSocketLike } from '../client/options.ts';

/** The installation that its cursors name. */
const TAG = 'fa4efeed';
const FIRST_TX = 1000n;

/** A frame as the relay would send it; what is left out is made up. */
export interface FakeFrame {
  readonly type: string;
  readonly data?: unknown;
  readonly old?: unknown;
  readonly id?: string;
  /** By default each frame's own. */
  readonly tx?: string;
  readonly timestamp?: number;
  readonly cursor?: string;
  readonly truncated?: boolean;
}

export interface FakeFeed<Map extends object = Record<string, unknown>> {
  /** The real client, on a socket that is none. */
  readonly feed: Feed<Map>;
  /**
   * The server sends frames: one, or several in one message. They wait for a socket that is open,
   * such as the next after `feed.reconnect()`.
   */
  push(...frames: readonly FakeFrame[]): void;
  /** From here on the feed is live. */
  ready(ready?: { readonly recovered?: boolean }): void;
  /** The server says who is in a room: by id, or how many of too many to name them. */
  presence(room: string, users: Readonly<Record<string, PresentUser>> | number): void;
  /** The connection is lost, with what waits for it; the feed makes another at once. */
  cut(): void;
  /** As `rowcast.snapshot()`: sees all that was pushed. */
  snapshot(): string;
}

/**
 * A feed for the tests of an application: no server, no network, the real client.
 *
 *     const { feed, push, ready } = fakeFeed();
 *     ready();
 *     push({ type: 'NEW_ORDER', data: { id: 7 } });
 */
export function fakeFeed<Map extends object = Record<string, unknown>>(
  options: Partial<ConnectOptions<Map>> = {},
): FakeFeed<Map> {
  /** The feed's last. */
  let socket: FakeSocket | undefined;
  let waiting: string[] = [];
  let count = 0;
  let nextTx = FIRST_TX;
  const cursor = () => `${nextTx}.${TAG}`;
  const deliver = () => {
    while (socket?.isOpen && waiting.length > 0) socket.receive(waiting.shift() as string);
  };
  const send = (message: string) => {
    waiting.push(message);
    deliver();
  };
  class Socket extends FakeSocket {
    constructor() {
      super(deliver);
      socket = this;
    }
  }
  const settings: unknown = {
    url: 'ws://rowcast.invalid/fake',
    reconnectDelayMs: 0,
    ...options,
    WebSocket: Socket,
  };
  const feed = connect<Map>(settings as ConnectOptions<Map> & { dataAsText?: false });
  return {
    feed: feed as Feed<Map>,
    push(...frames) {
      const start = cursor();
      const made = frames.map(({ data = null, ...frame }) => {
        const tx = frame.tx ?? String(nextTx);
        if (BigInt(tx) >= nextTx) nextTx = BigInt(tx) + 1n;
        return { id: String(++count), data, timestamp: Date.now(), cursor: start, ...frame, tx };
      });
      send(JSON.stringify(made.length === 1 ? made[0] : { type: 'BATCH', events: made }));
    },
    ready({ recovered = true } = {}) {
      send(JSON.stringify({ type: 'READY', cursor: cursor(), recovered }));
    },
    presence(room, users) {
      const who = typeof users === 'number' ? { count: users } : { users };
      send(JSON.stringify({ type: 'PRESENCE', room, seq: ++count, ...who }));
    },
    cut() {
      waiting = [];
      socket?.cut();
    },
    snapshot: cursor,
  };
}

type Listener = (event: { readonly data?: unknown }) => void;

/** Opens by itself. */
class FakeSocket implements WebSocketLike {
  isOpen = false;
  readonly #listeners = new Map<string, Set<Listener>>();
  #isCut = false;

  constructor(opened: () => void) {
    queueMicrotask(() => {
      this.isOpen = true;
      this.#call('open', {});
      if (this.#isCut) this.cut();
      else opened();
    });
  }

  addEventListener(type: string, listener: Listener): void {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
  }

  receive(data: string): void {
    this.#call('message', { data });
  }

  /** Once it is open: a handshake that fails is another matter. */
  cut(): void {
    this.#isCut = true;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#call('close', {});
  }

  /** Every room that is asked for is granted. */
  send(message: string): void {
    const { rooms } = JSON.parse(message) as { rooms?: string };
    const answer =
      rooms === undefined
        ? { type: 'pong' }
        : { type: 'ROOMS', wanted: rooms, rooms: roomNames(rooms), refused: [] };
    queueMicrotask(() => this.receive(JSON.stringify(answer)));
  }

  close(): void {
    this.#listeners.clear();
    this.isOpen = false;
  }

  #call(type: string, event: { readonly data?: unknown }): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }
}
