import { connect } from '../client/connect.ts';
import type { Feed } from '../client/feed.ts';
import type { ConnectOptions, WebSocketLike } from '../client/options.ts';

/** The installation that its cursors name. */
const TAG = 'fa4efeed';
const FIRST_TX = 1000;

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
  /** The server sends frames: one, or several in one message. They wait for the socket to open. */
  push(...frames: readonly FakeFrame[]): void;
  /** From here on the feed is live. */
  ready(ready?: { readonly recovered?: boolean }): void;
  /** The connection is lost; the feed makes another at once. */
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
  let socket: FakeSocket | undefined;
  let waiting: string[] = [];
  let count = 0;
  const cursor = () => `${FIRST_TX + count}.${TAG}`;
  const send = (message: string) => {
    if (socket) socket.receive(message);
    else waiting.push(message);
  };
  class Socket extends FakeSocket {
    constructor() {
      super(() => {
        socket = this;
        for (const message of waiting.splice(0)) this.receive(message);
      });
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
        const id = String(++count);
        const tx = String(FIRST_TX + count - 1);
        return { id, data, timestamp: Date.now(), tx, cursor: start, ...frame };
      });
      send(JSON.stringify(made.length === 1 ? made[0] : { type: 'BATCH', events: made }));
    },
    ready({ recovered = true } = {}) {
      send(JSON.stringify({ type: 'READY', cursor: cursor(), recovered }));
    },
    cut() {
      waiting = [];
      socket?.end();
      socket = undefined;
    },
    snapshot: cursor,
  };
}

type Listener = (event: { readonly data?: unknown }) => void;

/** Opens by itself. */
class FakeSocket implements WebSocketLike {
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(opened: () => void) {
    queueMicrotask(() => {
      this.#call('open', {});
      opened();
    });
  }

  addEventListener(type: string, listener: Listener): void {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
  }

  receive(data: string): void {
    this.#call('message', { data });
  }

  end(): void {
    this.#call('close', {});
  }

  send(message: string): void {
    if (message.includes('ping')) queueMicrotask(() => this.receive('{"type":"pong"}'));
  }

  close(): void {
    this.#listeners.clear();
  }

  #call(type: string, event: { readonly data?: unknown }): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }
}
