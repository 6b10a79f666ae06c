import { PING, SUBPROTOCOL } from '../protocol/handshake.ts';
import { type Frame, framesOf } from './frames.ts';
import type { Settings, WebSocketLike } from './options.ts';

/**
 * Why a connection is over. `refused`: the server answers, and lets nobody in with this token. A browser does not tell a page
 * with which status a handshake failed, so the server is asked by plain HTTP whether it is there.
 */
export type Ending = { readonly outcome: 'refused' | 'unreachable' | 'lost'; readonly error: Error };

const NORMAL = 1000;

/**
 * One connection, from the call for a token to its end. What it reports: that it is open, frames, and once how it ended; nothing
 * after `close()`.
 */
export class Connection {
  /** READY came. */
  ready = false;
  /** Messages came; they may have moved the feed's cursor. */
  delivered = false;
  readonly #settings: Settings;
  readonly #events: ConnectionEvents;
  #socket: WebSocketLike | undefined;
  #open = false;
  #over = false;
  #lastHeardAt = 0;
  /** A ping is out. */
  #asked = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param events called later, never from within */
  constructor(settings: Settings, from: { cursor: string | undefined; refused: boolean }, events: ConnectionEvents) {
    this.#settings = settings;
    this.#events = events;
    this.#after(settings.connectTimeoutMs, () => this.#end('unreachable', 'no connection in time'));
    void this.#connect(from).catch((error: unknown) =>
      this.#end('unreachable', 'no connection could be opened', error),
    );
  }

  /** Asks for a sign of life now: the network or the machine was away. */
  probe(): void {
    if (this.#open && !this.#asked) this.#ping();
  }

  /** Ends it without a report. A dead socket can take minutes to close; nobody waits for it. */
  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.close(NORMAL);
  }

  async #connect({ cursor, refused }: { cursor: string | undefined; refused: boolean }): Promise<void> {
    const { getToken, tokenIn, url, WebSocket } = this.#settings;
    const token = await getToken?.({ refused });
    if (this.#over) return;
    if (getToken && !token) return this.#end('refused', 'getToken has no token');
    const target = new URL(url);
    if (cursor !== undefined) target.searchParams.set('cursor', cursor);
    if (token && tokenIn === 'query') target.searchParams.set('token', token);
    const protocols = token && tokenIn === 'subprotocol' ? [SUBPROTOCOL, token] : undefined;
    const socket = new WebSocket(target.href, protocols);
    this.#socket = socket;
    socket.addEventListener('open', () => this.#opened());
    socket.addEventListener('message', ({ data }) => this.#heard(data));
    socket.addEventListener('close', () => void this.#closed());
    // 'close' follows; Node's emitters take an error that nobody listens to for fatal.
    socket.addEventListener('error', () => undefined);
  }

  #opened(): void {
    if (this.#over) return;
    this.#open = true;
    this.#lastHeardAt = Date.now();
    this.#watch();
    this.#events.opened();
  }

  #heard(data: unknown): void {
    if (this.#over) return;
    this.#lastHeardAt = Date.now();
    if (this.#asked) this.#watch();
    this.#events.frames(framesOf(String(data), this.#settings.dataAsText === true));
  }

  /** Pings after a silence, and not while messages come. */
  #watch(): void {
    this.#asked = false;
    const silentForMs = Date.now() - this.#lastHeardAt;
    const { pingIntervalMs } = this.#settings;
    if (silentForMs >= pingIntervalMs) this.#ping();
    else this.#after(pingIntervalMs - silentForMs, () => this.#watch());
  }

  #ping(): void {
    const { pongTimeoutMs } = this.#settings;
    const pingedAt = Date.now();
    this.#asked = true;
    this.#socket?.send(PING);
    this.#after(pongTimeoutMs, () => {
      // A page that was frozen runs its timers before what the socket has received: it asks once more.
      if (Date.now() - pingedAt > 2 * pongTimeoutMs) this.#ping();
      else this.#end('lost', 'the server does not answer pings');
    });
  }

  async #closed(): Promise<void> {
    if (this.#over || this.#open) return this.#end('lost', 'the connection was closed');
    clearTimeout(this.#timer);
    const { origin, pathname } = this.#settings.url;
    const there = await fetch(`${origin.replace('ws', 'http')}${pathname}`, {
      mode: 'no-cors',
      credentials: 'omit',
      signal: AbortSignal.timeout(this.#settings.connectTimeoutMs),
    }).then(
      () => true,
      () => false,
    );
    if (there) this.#end('refused', 'the server refuses the handshake: 401 or 403 for the token or a room, 429, 5xx');
    else this.#end('unreachable', 'the server cannot be reached');
  }

  #end(outcome: Ending['outcome'], message: string, cause?: unknown): void {
    if (this.#over) return;
    this.close();
    this.#events.ended({ outcome, error: new Error(`rowcast: ${message}`, { cause }) });
  }

  #after(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }
}

export interface ConnectionEvents {
  opened(): void;
  frames(frames: readonly Frame[]): void;
  ended(ending: Ending): void;
}
