import { PING, REFUSALS, refusalIn, SUBPROTOCOL } from '../protocol/handshake.ts';
import type { FeedError } from './feed.ts';
import { type Frame, framesOf } from './frames.ts';
import type { Settings, WebSocketLike } from './options.ts';
import { Timer } from './timer.ts';

/**
 * Why a connection is over. `refused`: the server answers, and lets nobody in with this token. A
 * browser does not tell a page with which status a handshake failed, so the server is asked by
 * plain HTTP whether it is there; other WebSockets say the status.
 */
export type Ending = {
  readonly outcome: 'refused' | 'unreachable' | 'lost';
  readonly error: FeedError;
};

const NORMAL = 1000;

/**
 * One connection, from the call for a token to its end. What it reports, later and never from
 * within: that it is open, frames, and once how it ended; nothing after `close()`.
 */
export class Connection {
  /** READY came. */
  ready = false;
  /** READY was delivered: all that was missed came before it. */
  live = false;
  /** It has asked for these as it connected. */
  readonly rooms: string;
  /** Messages came that had not come before; they may have moved the feed's cursor. */
  delivered = false;
  readonly #settings: Settings;
  readonly #events: ConnectionEvents;
  readonly #timer = new Timer();
  readonly #over = new AbortController();
  #socket: WebSocketLike | undefined;
  #open = false;
  #lastHeardAt = 0;
  /** With which the handshake failed, or would have. */
  #status: string | undefined;
  /** A ping is out. */
  #asked = false;

  constructor(settings: Settings, from: ConnectionStart, events: ConnectionEvents) {
    this.rooms = from.rooms;
    this.#settings = settings;
    this.#events = events;
    this.#timer.set(settings.connectTimeoutMs, () =>
      this.end('unreachable', 'no connection in time'),
    );
    Promise.resolve()
      .then(() => this.#connect(from))
      .catch((error: unknown) => this.end('unreachable', 'no connection', error));
  }

  get open(): boolean {
    return this.#open;
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /**
   * Asks for a sign of life now.
   * @param again also where one was asked for that has not come: the network was away since
   */
  probe(again: boolean): void {
    if (this.#open && (again || !this.#asked)) this.#ping();
  }

  /** Asks for rooms: the whole wish. */
  ask(rooms: string): void {
    this.#socket?.send(JSON.stringify({ action: 'rooms', rooms }));
  }

  /** Ends it without a report. A dead socket can take minutes to close; nobody waits for it. */
  close(): void {
    this.#over.abort();
    this.#timer.stop();
    this.#socket?.close(NORMAL);
  }

  /** Ends it with a report. */
  end(outcome: Ending['outcome'], message: string, cause?: unknown): void {
    if (this.over) return;
    this.close();
    const error = new Error(`rowcast: ${message}`, { cause });
    this.#events.ended({ outcome, error: Object.assign(error, { code: this.#status ?? outcome }) });
  }

  async #connect({ cursor, refused, rooms }: ConnectionStart): Promise<void> {
    if (this.over) return;
    const { getToken, tokenIn, url } = this.#settings;
    const token = await getToken?.({ refused });
    if (this.over) return;
    if (token === null || token === '') return this.end('refused', 'getToken has no token');
    const target = new URL(url);
    if (cursor) target.searchParams.set('cursor', cursor);
    target.searchParams.delete('rooms');
    if (rooms) target.searchParams.set('rooms', rooms);
    if (token && tokenIn === 'query') target.searchParams.set('token', token);
    const socket = this.#socketTo(
      target.href,
      token && tokenIn === 'subprotocol' ? [SUBPROTOCOL, token, ...REFUSALS] : undefined,
    );
    if (!socket) return;
    this.#socket = socket;
    socket.addEventListener('open', () => this.#opened());
    socket.addEventListener('message', ({ data }) => this.#heard(data));
    socket.addEventListener('close', () => this.#closed());
    // 'close' follows; Node's emitters take an error that nobody listens to for fatal.
    socket.addEventListener('error', ({ message }) => {
      this.#status = / (\d{3})$/.exec(message ?? '')?.[1];
    });
  }

  /**
   * A token of other characters than a subprotocol may have is no token that works here: a JWT has
   * none.
   */
  #socketTo(url: string, protocols: string[] | undefined): WebSocketLike | undefined {
    try {
      return new this.#settings.WebSocket(url, protocols);
    } catch (error) {
      if ((error as Error).name !== 'SyntaxError') throw error;
      this.end('refused', "the token cannot travel as a subprotocol; see tokenIn: 'query'", error);
      return undefined;
    }
  }

  #opened(): void {
    if (this.over) return;
    this.#status = refusalIn(this.#socket?.protocol);
    if (this.#status) {
      this.#closed();
      return;
    }
    this.#open = true;
    this.#lastHeardAt = Date.now();
    this.#watch();
    this.#events.opened();
  }

  #heard(data: unknown): void {
    if (this.over) return;
    this.#lastHeardAt = Date.now();
    if (this.#asked) this.#watch();
    this.#events.frames(framesOf(String(data), this.#settings.dataAsText === true));
  }

  /** Pings after a silence, and not while messages come. */
  #watch(): void {
    this.#asked = false;
    // A clock may be set back.
    this.#lastHeardAt = Math.min(this.#lastHeardAt, Date.now());
    const silentForMs = Date.now() - this.#lastHeardAt;
    const { pingIntervalMs } = this.#settings;
    if (silentForMs >= pingIntervalMs) this.#ping();
    else this.#timer.set(pingIntervalMs - silentForMs, () => this.#watch());
  }

  #ping(): void {
    const { pongTimeoutMs } = this.#settings;
    const pingedAt = Date.now();
    this.#asked = true;
    this.#socket?.send(PING);
    this.#timer.set(pongTimeoutMs, () => {
      // A page that was frozen runs its timers before what the socket has received: it asks once
      // more.
      if (Date.now() - pingedAt > 2 * pongTimeoutMs + 1000) this.#ping();
      else this.end('lost', 'the server does not answer pings');
    });
  }

  #closed(): void {
    if (this.#open) {
      this.end('lost', 'the connection was closed');
      return;
    }
    if (this.over) return;
    const status = this.#status;
    if (status) {
      // A server that fails says nothing of the token.
      this.end(status < '5' ? 'refused' : 'unreachable', `the server answers ${status}`);
      return;
    }
    this.#timer.set(this.#settings.connectTimeoutMs, () =>
      this.end('unreachable', 'the server cannot be reached'),
    );
    this.#isThere().then(
      () => this.end('refused', 'the server refuses the handshake (401, 403, 429 or 5xx)'),
      (error: unknown) => this.end('unreachable', 'the server cannot be reached', error),
    );
  }

  /** @throws where nothing answers */
  async #isThere(): Promise<void> {
    const { origin, pathname } = this.#settings.url;
    // `cache` is a browser's; Node's types know none.
    const request: RequestInit & { cache: 'no-store' } = {
      mode: 'no-cors',
      credentials: 'omit',
      cache: 'no-store',
      signal: this.#over.signal,
    };
    await fetch(`${origin.replace('ws', 'http')}${pathname}`, request);
  }
}

interface ConnectionStart {
  readonly cursor: string | undefined;
  /** The last token was. */
  readonly refused: boolean;
  /** To join, by comma. */
  readonly rooms: string;
}

export interface ConnectionEvents {
  opened(): void;
  frames(frames: readonly Frame[]): void;
  ended(ending: Ending): void;
}
