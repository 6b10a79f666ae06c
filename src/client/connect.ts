/**
 * The browser client: `connect()` gives a feed that stays connected until it is closed.
 *
 *   Feed ── one Connection after the other (token, socket, heartbeat) ── frames ──▶ Delivery ── in order, once ──▶ listeners
 *
 * - A connection that ends is followed by another, after a random part of a time that doubles with each failure (full jitter, so
 *   that a hundred thousand clients do not return in one second); at once when the network or the tab comes back.
 * - Each goes on from the cursor: what was missed comes first, then READY, then the feed is live.
 * - Before API Gateway's two hours are over a second connection is made, and the first is closed once the second is READY:
 *   the feed stays live, repeats are dropped by id.
 */
import { Connection, type Ending } from './connection.ts';
import { Delivery, type DeliveryDeps, type Event } from './delivery.ts';
import type { Feed, Status } from './feed.ts';
import type { Frame } from './frames.ts';
import { Listeners } from './listeners.ts';
import type { Message, Ready } from './message.ts';
import { type ConnectOptions, type Received, type Settings, settingsOf } from './options.ts';
import { isOnline, onWakeup } from './wakeup.ts';

export type { Feed, Status } from './feed.ts';
export type { Message, MessageOf, Ready, TableMessages, TruncatedMessage, WholeMessage } from './message.ts';
export type { ConnectOptions, Received, WebSocketConstructor, WebSocketLike } from './options.ts';

/**
 * @example const feed = connect<Messages>({ url: 'wss://…/prod', getToken: () => session.token() });
 * @throws TypeError that names the option that is wrong
 */
export function connect<Map extends object = Record<string, unknown>, AsText extends boolean = false>(
  options: ConnectOptions<Map> & { readonly dataAsText?: AsText },
): Feed<Received<Map, AsText>> {
  // The map is the application's word for what the server sends: inside, data is unknown.
  return new ReconnectingFeed(options as unknown as ConnectOptions) as unknown as Feed<Received<Map, AsText>>;
}

class ReconnectingFeed implements Feed {
  status: Status = 'connecting';
  readonly #settings: Settings;
  readonly #delivery: Delivery;
  readonly #messages = new Listeners<[Message]>();
  readonly #readies = new Listeners<[Ready]>();
  readonly #statuses = new Listeners<[Status, Error?]>();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;
  #connection: Connection | undefined;
  /** Takes the other's place once it is READY. */
  #successor: Connection | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Attempts in a row that did not come to READY. */
  #failures = 0;
  #refused = false;
  #wasReady = false;
  /** A replay was cut off: whether it would have been whole was never heard, and the cursor has moved on. */
  #inDoubt = false;

  constructor(options: ConnectOptions) {
    this.#settings = settingsOf(options);
    const { fetchRow, fetchTimeoutMs, maxRememberedIds, signal } = this.#settings;
    this.#delivery = new Delivery({
      message: (event) => this.#messages.call(event as never),
      ready: (ready) => {
        if (this.#connection?.ready) this.#show('live');
        this.#readies.call(ready);
      },
      fetchRow: fetchRow as DeliveryDeps['fetchRow'],
      fetchTimeoutMs,
      maxRememberedIds,
      signal: this.#closing.signal,
    });
    this.#delivery.cursor = this.#settings.cursor;
    this.#stopListening = onWakeup(() => this.#wake());
    signal?.addEventListener('abort', () => this.close(), { signal: this.#closing.signal });
    if (signal?.aborted) this.close();
    else this.#connect();
  }

  get cursor(): string | undefined {
    return this.#delivery.cursor;
  }

  on(type: string, listener: (message: never) => void): () => void {
    return this.#messages.add((message) => {
      if (message.type === type) listener(message as never);
    });
  }

  onMessage(listener: (message: Message) => void): () => void {
    return this.#messages.add(listener);
  }

  onReady(listener: (ready: Ready) => void): () => void {
    return this.#readies.add(listener);
  }

  onStatus(listener: (status: Status, error?: Error) => void): () => void {
    return this.#statuses.add(listener);
  }

  reconnect(): void {
    if (this.#closing.signal.aborted) return;
    this.#drop();
    this.#failures = 0;
    this.#connect();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#stopListening();
    this.#drop();
    this.#show('offline');
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void> {
    const waiting: Message[] = [];
    const { signal } = this.#closing;
    let wake = (): void => undefined;
    const onClose = () => wake();
    const stop = this.#messages.add((message) => {
      waiting.push(message);
      wake();
    });
    signal.addEventListener('abort', onClose);
    try {
      for (;;) {
        const message = waiting.shift();
        if (message) yield message;
        else if (signal.aborted) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      stop();
      signal.removeEventListener('abort', onClose);
    }
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.#show('connecting');
    this.#connection = this.#open();
  }

  #open(): Connection {
    const from = { cursor: this.cursor, refused: this.#refused };
    const connection: Connection = new Connection(this.#settings, from, {
      opened: () => {
        if (connection === this.#connection) this.#show('replaying');
      },
      frames: (frames) => {
        for (const frame of frames) this.#receive(connection, frame);
      },
      ended: (ending) => this.#ended(connection, ending),
    });
    return connection;
  }

  #receive(connection: Connection, frame: Frame): void {
    // A sign of life after the browser said that there is no network.
    if (connection === this.#connection && this.status === 'offline')
      this.#show(connection.ready ? 'live' : 'replaying');
    if (frame.type === 'READY') this.#ready(connection, frame);
    else if (frame.id !== undefined && frame.type !== undefined && this.#delivery.event(frame as Event))
      connection.delivered = true;
  }

  #ready(connection: Connection, frame: Frame): void {
    connection.ready = true;
    if (connection === this.#successor) {
      this.#connection?.close();
      this.#connection = connection;
      this.#successor = undefined;
    }
    const recovered = frame.recovered === true && !this.#inDoubt;
    this.#inDoubt = false;
    this.#refused = false;
    this.#failures = 0;
    const { renewAfterMs } = this.#settings;
    this.#after(renewAfterMs * (1 + Math.random() / 10), () => this.#renew());
    this.#delivery.ready({ recovered, first: !this.#wasReady, cursor: frame.cursor ?? '' });
    this.#wasReady = true;
  }

  #renew(): void {
    this.#successor = this.#open();
  }

  #ended(connection: Connection, { outcome, error }: Ending): void {
    if (connection === this.#successor) {
      // The other goes on; it is tried again before its two hours are over.
      this.#successor = undefined;
      this.#after(this.#delay(false), () => this.#renew());
      return;
    }
    this.#doubt(connection);
    this.#connection = this.#successor;
    this.#successor = undefined;
    this.#refused = outcome === 'refused';
    this.#show(this.#refused ? 'refused' : 'connecting', error);
    if (!this.#connection) this.#after(this.#delay(this.#refused), () => this.#connect());
  }

  #doubt(ended: Connection | undefined): void {
    if (ended?.delivered && !ended.ready) this.#inDoubt = true;
  }

  #delay(refused: boolean): number {
    const { reconnectDelayMs, maxReconnectDelayMs, refusedDelayMs, maxRefusedDelayMs } = this.#settings;
    const [first, most] = refused ? [refusedDelayMs, maxRefusedDelayMs] : [reconnectDelayMs, maxReconnectDelayMs];
    return Math.random() * Math.min(most, first * 2 ** this.#failures++);
  }

  #wake(): void {
    if (!isOnline()) this.#show('offline');
    if (this.#connection) this.#connection.probe();
    else if (isOnline()) this.#connect();
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#doubt(this.#connection);
    this.#connection?.close();
    this.#successor?.close();
    this.#connection = undefined;
    this.#successor = undefined;
  }

  #after(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }

  #show(status: Status, error?: Error): void {
    const shown = status === 'connecting' && !isOnline() ? 'offline' : status;
    if (shown === this.status && !error) return;
    this.status = shown;
    this.#statuses.call(shown, error);
  }
}
