/**
 * The browser client: `connect()` gives a feed that stays connected until it is closed.
 *
 *     Feed ── one Connection after the other (token, socket, heartbeat)
 *       └─ frames ──▶ Delivery ── in order, once ──▶ listeners
 *
 * - A connection that ends is followed by another, after a random part of a time that doubles with
 *   each failure (full jitter, so that a hundred thousand clients do not return in one second); at
 *   once when the network or the tab comes back.
 * - Each goes on from the cursor: missed events come first, then READY, then the feed is live.
 * - Before API Gateway's two hours are over a second connection is made, and the first is closed
 *   once the second is READY: the feed stays live, and repeats are dropped by id.
 */
import { Connection, type Ending } from './connection.ts';
import { Delivery, type DeliveryDeps, type Event } from './delivery.ts';
import type { Feed, FeedError, Granted, Status } from './feed.ts';
import type { Frame } from './frames.ts';
import { iterator } from './iterator.ts';
import { Listeners } from './listeners.ts';
import type { Message, Ready } from './message.ts';
import { type ConnectOptions, type Received, type Settings, settingsOf } from './options.ts';
import { Presence, type RoomPresence } from './presence.ts';
import { retryDelayMs } from './retry.ts';
import { RoomWish } from './room-wish.ts';
import { Timer } from './timer.ts';
import { isOnline, onWakeup } from './wakeup.ts';

/** Between two attempts that somebody's looking brings about. */
const WAKE_INTERVAL_MS = 2000;

export type { Feed, FeedError, Granted, Status } from './feed.ts';
export type { PresentUser } from './frames.ts';
export type {
  Message,
  MessageOf,
  Ready,
  TableMessages,
  TruncatedMessage,
  WholeMessage,
} from './message.ts';
export type { ConnectOptions, Received, WebSocketConstructor, WebSocketLike } from './options.ts';
export type { PresenceState, RoomPresence } from './presence.ts';

/**
 * @example const feed = connect<Messages>({ url: 'wss://…/prod', getToken: () => session.token()
 * });
 * @throws TypeError that names the option that is wrong
 */
export function connect<
  Map extends object = Record<string, unknown>,
  AsText extends boolean = false,
>(
  options: ConnectOptions<Received<Map, AsText>> & { readonly dataAsText?: AsText | undefined },
): Feed<Received<Map, AsText>> {
  // The map is the application's word for what the server sends: inside, data is unknown.
  return new ReconnectingFeed(options as unknown as ConnectOptions) as unknown as Feed<
    Received<Map, AsText>
  >;
}

class ReconnectingFeed implements Feed {
  status: Status = 'connecting';
  readonly #settings: Settings;
  readonly #delivery: Delivery;
  readonly #messages = new Listeners<[Message]>();
  readonly #readies = new Listeners<[Ready]>();
  readonly #statuses = new Listeners<[Status, FeedError?]>();
  readonly #wish: RoomWish;
  readonly #presence = new Presence(() => this.#wish.ask());
  readonly #closing = new AbortController();
  readonly #retry = new Timer();
  readonly #renewal = new Timer();
  #connection: Connection | undefined;
  /** Takes the other's place once it is READY, or when the other ends. */
  #successor: Connection | undefined;
  /** Attempts in a row that did not come to READY; of successors, in a row too. */
  #failures = 0;
  #renewalFailures = 0;
  #lastAttemptAt = 0;
  /** The last token that was sent was refused, and none has been accepted since. */
  #tokenRefused = false;
  #wasReady = false;
  /**
   * A replay was cut off: whether it would have been whole was never heard, and the cursor has
   * moved on.
   */
  #inDoubt = false;

  constructor(options: ConnectOptions) {
    this.#settings = settingsOf(options);
    const { signal, url, pongTimeoutMs } = this.#settings;
    const rooms = url.searchParams.get('rooms') ?? '';
    this.#wish = new RoomWish(rooms, () => this.#askForRooms(), pongTimeoutMs);
    this.#delivery = new Delivery({
      ...this.#settings,
      fetchRow: this.#settings.fetchRow as DeliveryDeps['fetchRow'],
      message: (event) => this.#messages.call(event as never),
      signal: this.#closing.signal,
    });
    this.#delivery.cursor = this.#settings.cursor ?? undefined;
    const stopListening = onWakeup((online) => this.#wake(online));
    this.#closing.signal.addEventListener('abort', stopListening);
    signal?.addEventListener('abort', () => this.close(), { signal: this.#closing.signal });
    if (signal?.aborted) this.close();
    else this.#connect();
  }

  get cursor(): string | undefined {
    return this.#delivery.cursor;
  }

  get delivered(): ReadonlySet<string> {
    return this.#delivery.delivered;
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

  onStatus(listener: (status: Status, error?: FeedError) => void): () => void {
    return this.#statuses.add(listener);
  }

  async waitFor(tx: string, timeoutMs = 10_000): Promise<void> {
    if (this.delivered.has(tx)) return;
    const none = `nothing of transaction ${tx} came`;
    await this.#first<void>(timeoutMs, none, (done) => [
      // The others of its WebSocket message come first.
      this.onMessage((message) => message.tx === tx && queueMicrotask(done)),
      this.onReady(({ recovered }) => recovered || done()),
    ]);
  }

  setRooms(rooms: readonly string[]): Promise<Granted> {
    this.#wish.change(rooms);
    return this.#first<Granted>(null, 'the feed is closed', (done) => [this.#wish.onAnswer(done)]);
  }

  join(room: string): Promise<Granted> {
    return this.setRooms([...this.#wish.rooms, room]);
  }

  leave(room: string): Promise<Granted> {
    return this.setRooms(this.#wish.rooms.filter((each) => each !== room));
  }

  presence<Info>(room: string): RoomPresence<Info> {
    return this.#presence.of(room.normalize('NFC')) as RoomPresence<Info>;
  }

  reconnect(): void {
    if (this.#closed) return;
    this.#drop();
    this.#failures = 0;
    this.#connect();
  }

  close(): void {
    if (this.#closed) return;
    this.#closing.abort();
    this.#retry.stop();
    this.#renewal.stop();
    this.#wish.stop();
    this.#drop();
    this.#show('offline');
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return iterator((listener) => this.onMessage(listener), this.#closing.signal);
  }

  /**
   * Resolves with the first that the listeners hear. Rejects after a time, and when the feed is
   * closed.
   */
  #first<Value>(
    timeoutMs: number | null,
    otherwise: string,
    listen: (done: (value: Value) => void) => (() => void)[],
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      const timer = new Timer();
      const over = () => {
        timer.stop();
        for (const stop of stops) stop();
      };
      const fail = () => {
        over();
        reject(new Error(`rowcast: ${otherwise}`));
      };
      const stops = [
        ...listen((value) => {
          over();
          resolve(value);
        }),
        this.onStatus(() => this.#closed && fail()),
      ];
      if (this.#closed) fail();
      else if (timeoutMs !== null) timer.set(timeoutMs, fail);
    });
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Listeners may close the feed or reconnect it: whatever shows or calls comes last. */
  #connect(): void {
    if (this.#closed) return;
    this.#retry.clear();
    this.#connection = this.#open();
    this.#show('connecting');
  }

  #open(): Connection {
    this.#lastAttemptAt = Date.now();
    const from = { cursor: this.cursor, refused: this.#tokenRefused, rooms: this.#wish.text };
    const connection: Connection = new Connection(this.#settings, from, {
      opened: () => {
        this.#tokenRefused = false;
        if (connection.rooms !== this.#wish.text) this.#wish.ask();
        if (connection === this.#connection) this.#show('replaying');
      },
      frames: (frames) => {
        if (connection === this.#connection) this.#alive(connection);
        for (const frame of frames) if (!connection.over) this.#receive(connection, frame);
      },
      ended: (ending) => this.#ended(connection, ending),
    });
    return connection;
  }

  /** A sign of life after the browser said that there is no network. */
  #alive({ live }: Connection): void {
    if (this.status === 'offline' || this.status === 'connecting')
      this.#show(live ? 'live' : 'replaying');
  }

  #receive(connection: Connection, frame: Frame): void {
    if (frame.type === 'READY') this.#ready(connection, frame);
    else if (frame.type === 'ROOMS')
      this.#delivery.afterwards(() => {
        this.#delivery.cursor = frame.cursor ?? this.cursor;
        if (frame.wanted === this.#wish.text) this.#wish.answered(frame as Granted);
      });
    else if (frame.type === 'PRESENCE') this.#presence.receive(frame);
    else if (frame.type === 'DISCONNECT') {
      // Its token may not say any more what is allowed: the next one is to be fresh.
      this.#tokenRefused = true;
      connection.end('lost', `disconnected: ${frame.reason}`);
    } else if (frame.id !== undefined && frame.type !== undefined && !this.#delivery.knows(frame)) {
      connection.delivered = true;
      this.#delivery.event(frame as Event);
    }
  }

  #ready(connection: Connection, frame: Frame): void {
    if (!connection.ready) this.#succeeded(connection);
    const ready = { recovered: frame.recovered === true && !this.#inDoubt, first: !this.#wasReady };
    this.#inDoubt = false;
    this.#wasReady = true;
    if (frame.recovered === false) this.#delivery.forget();
    this.#delivery.afterwards(() => {
      const cursor = frame.cursor ?? this.cursor ?? '';
      this.#delivery.cursor = cursor || undefined;
      connection.live = true;
      if (connection === this.#connection) this.#show('live');
      if (connection.rooms === this.#wish.text)
        this.#wish.answered({ rooms: this.#wish.rooms, refused: [] });
      if (!this.#closed) this.#readies.call({ ...ready, cursor });
    });
  }

  /** A connection that is not open yet asks as it connects. */
  #askForRooms(): void {
    const { text } = this.#wish;
    for (const connection of [this.#connection, this.#successor])
      if (connection?.open) connection.ask(text);
  }

  /** Another READY of the same connection makes it no younger. */
  #succeeded(connection: Connection): void {
    connection.ready = true;
    if (connection === this.#successor) {
      this.#connection?.close();
      this.#connection = connection;
      this.#successor = undefined;
    }
    this.#failures = 0;
    this.#renewalFailures = 0;
    this.#renewal.set(this.#settings.renewAfterMs * (1 + Math.random() / 10), () => this.#renew());
  }

  #renew(): void {
    this.#successor ??= this.#open();
  }

  #ended(connection: Connection, { outcome, error }: Ending): void {
    this.#doubt(connection);
    const refused = outcome === 'refused';
    if (refused) this.#tokenRefused = true;
    if (connection === this.#successor) {
      // The other goes on; it is tried again before its two hours are over.
      this.#successor = undefined;
      this.#renewal.set(retryDelayMs(this.#settings, refused, this.#renewalFailures++), () =>
        this.#renew(),
      );
      return;
    }
    this.#connection = this.#successor;
    this.#successor = undefined;
    this.#renewal.clear();
    if (this.#connection) {
      this.#show(this.#connection.open ? 'replaying' : 'connecting', error);
      return;
    }
    this.#retry.set(retryDelayMs(this.#settings, refused, this.#failures++), () => this.#connect());
    this.#show(refused ? 'refused' : 'connecting', error);
  }

  #doubt(ended: Connection | undefined): void {
    if (ended?.delivered && !ended.ready) this.#inDoubt = true;
  }

  /** @param online the network is back; else somebody looks, which may come in storms */
  #wake(online: boolean): void {
    const connection = this.#connection;
    if (!isOnline()) {
      connection?.probe(false);
      this.#show('offline');
    } else if (connection?.open) {
      connection.probe(online);
      if (this.status === 'offline') this.#show('connecting');
    } else if (online || (!connection && Date.now() - this.#lastAttemptAt > WAKE_INTERVAL_MS)) {
      // An attempt that began without a network hangs.
      this.#drop();
      this.#connect();
    }
  }

  #drop(): void {
    this.#retry.clear();
    this.#renewal.clear();
    for (const connection of [this.#connection, this.#successor]) {
      this.#doubt(connection);
      connection?.close();
    }
    this.#connection = undefined;
    this.#successor = undefined;
  }

  #show(status: Status, error?: FeedError): void {
    const shown = status === 'connecting' && !isOnline() ? 'offline' : status;
    if (shown === this.status && !error && !this.#closed) return;
    this.status = shown;
    this.#statuses.call(shown, error);
  }
}
