import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import type PgListen from 'pg-listen';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { aborted, pause, systemClock } from '../clock.ts';

import { errorText } from '../error-text.ts';
import { connectionOptions, type Database, serverOf } from '../postgres/servers.ts';
import { Session } from '../postgres/session.ts';
import type { Service } from '../service.ts';
import { Coalesced } from './coalesced.ts';

/** A NotificationListener, or a simulated one. */
export interface Notifications extends EventEmitter<NotificationListenerEvents>, Service {
  /** LISTEN is in force. */
  readonly listening: boolean;
}

/**
 * CommonJS with a `default`: an ESM import would be the function in some loaders and its container
 * in others.
 */
const { default: createSubscriber } = createRequire(import.meta.url)(
  'pg-listen',
) as typeof PgListen;

/** Reconnects: 0.1–0.2 s after the first failure, at most 2.5–5 s apart, for ever. */
const RETRY: Backoff = { baseMs: 200, capMs: 5000 };
const HEARTBEAT_INTERVAL_MS = 10_000;
const HEARTBEAT_TIMEOUT_MS = 5000;
/**
 * Nobody notifies on it: LISTEN and UNLISTEN make a round trip that writes nothing and takes no
 * cluster-wide lock.
 */
const HEARTBEAT_CHANNEL = 'rowcast_heartbeat';
const CONTROL_CHANNEL = 'rowcast_control';
/** Anybody may notify: what that starts is done once a second at most. */
const CONTROL_INTERVAL_MS = 1000;

/**
 * Hears the doorbell: one dedicated connection that LISTENs on the channels of everything watched.
 * Notifications are hints; a deaf moment costs latency and loses nothing.
 *
 * 1. `start` connects, for as long as it takes, and LISTENs.
 * 2. `listening` after every (re)connect, once LISTEN is in force: its listener must read the log,
 *    because earlier notifications were not heard.
 * 3. `notification` for a channel. `control` when watch() or unwatch() changed something, or a
 *    lease was released: the first at once, then one a second at most, on a session that is kept.
 * 4. A heartbeat finds a half-open socket within 15 s and destroys it; pg-listen then connects
 *    again. When pg-listen itself gives up (a LISTEN failed after a reconnect) its subscriber is
 *    replaced.
 */
export class NotificationListener
  extends EventEmitter<NotificationListenerEvents>
  implements Notifications
{
  readonly #deps: NotificationListenerDeps;
  readonly #abort = new AbortController();
  readonly #control: Coalesced;
  #subscriber: PgListen.Subscriber | undefined;
  /** Asks which channels there are. */
  #catalog: Session | undefined;
  #socket: Socket | undefined;
  #listening = false;
  #starting: Promise<void> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(deps: NotificationListenerDeps) {
    super();
    this.#deps = deps;
    this.#control = new Coalesced(
      async () => {
        this.emit('control');
        await this.#listenToNew();
      },
      { intervalMs: CONTROL_INTERVAL_MS, signal: this.#abort.signal },
    );
  }

  get listening(): boolean {
    return this.#listening;
  }

  start(): Promise<void> {
    this.#starting ??= this.#connectUntilHeard().then(() => {
      if (this.#abort.signal.aborted) return;
      this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_INTERVAL_MS);
    });
    return this.#starting;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    clearInterval(this.#heartbeat);
    this.#listening = false;
    this.#discard();
    await this.#starting;
    await this.#catalog?.close();
  }

  async #connectUntilHeard(): Promise<void> {
    for (let failures = 1; !this.#abort.signal.aborted; failures++) {
      const attempt = new AbortController();
      try {
        // A client of pg that is ended while it connects never says so.
        await Promise.race([this.#connect(), aborted(this.#abort.signal, attempt.signal)]);
        return;
      } catch (error) {
        this.#discard();
        this.#deps.log.warn(
          { event: 'listen_failed', failures, error: errorText(error) },
          'cannot listen for notifications; polling the log',
        );
        await pause(systemClock, backoffDelayMs(systemClock, RETRY, failures), this.#abort.signal);
      } finally {
        attempt.abort();
      }
    }
  }

  async #connect(): Promise<void> {
    const { database, applicationName } = this.#deps;
    const channels = await this.#channels();
    const server = await serverOf(database);
    this.#abort.signal.throwIfAborted();
    const subscriber = createSubscriber(
      {
        ...connectionOptions(server, applicationName),
        // Our own socket, so that the heartbeat can destroy it: pg-listen keeps its client to
        // itself.
        stream: () => {
          // A former attempt failed before Postgres knew who it was.
          this.#socket?.destroy();
          this.#socket = new Socket();
          return this.#socket;
        },
      },
      {
        retryInterval: (attempt) => {
          // The only way to end pg-listen's loop: it does not look whether it was closed.
          if (this.#subscriber !== subscriber) throw new Error('discarded');
          if (database.servers)
            throw new Error('another server may be the one that takes writes now');
          return backoffDelayMs(systemClock, RETRY, attempt + 1);
        },
        retryLimit: Number.POSITIVE_INFINITY,
        retryTimeout: Number.POSITIVE_INFINITY,
        paranoidChecking: false,
        parse: (payload) => payload,
      },
    );
    this.#subscriber = subscriber;
    subscriber.events.on('notification', ({ channel }) => this.#hear(channel));
    subscriber.events.on('reconnect', (attempt) => this.#lost(attempt));
    subscriber.events.on('error', (error) => this.#replace(error));
    await subscriber.connect();
    for (const channel of [CONTROL_CHANNEL, 'rowcast_send', ...channels])
      await subscriber.listenTo(channel);
    subscriber.events.on('connected', () => this.#heard());
    this.#heard();
  }

  /** The channels of the tables that are watched now. */
  async #channels(): Promise<string[]> {
    if (!this.#catalog || this.#catalog.ended.aborted) {
      this.#catalog = await Session.open({ ...this.#deps, queryTimeoutMs: HEARTBEAT_TIMEOUT_MS });
      if (this.#abort.signal.aborted) await this.#catalog.close();
    }
    const rows = await this.#catalog.query<{ channel: string }>(
      'select distinct channel from rowcast.capture',
    );
    return rows.map((row) => row.channel);
  }

  #hear(channel: string): void {
    if (channel === CONTROL_CHANNEL) this.#control.request();
    else this.emit('notification', channel);
  }

  /** Channels of tables that are no longer watched stay: nobody rings there. */
  async #listenToNew(): Promise<void> {
    try {
      for (const channel of await this.#channels()) await this.#subscriber?.listenTo(channel);
    } catch (error) {
      this.#deps.log.warn(
        { event: 'listen_failed', error: errorText(error) },
        'cannot listen to newly watched tables yet; their rows are polled',
      );
    }
  }

  #heard(): void {
    if (this.#abort.signal.aborted) return;
    this.#listening = true;
    this.emit('listening');
    // Tables that were watched while nobody listened were announced to nobody.
    this.#control.request();
  }

  #lost(attempt: number): void {
    if (this.#listening)
      this.#deps.log.warn(
        { event: 'listen_lost', attempt },
        'lost the LISTEN connection; polling the log until it is back',
      );
    const heard = this.#listening;
    this.#listening = false;
    if (heard) this.emit('deaf');
  }

  /** pg-listen has given up: start over with a new subscriber. */
  #replace(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    this.#lost(0);
    this.#deps.log.warn(
      { event: 'listen_failed', error: errorText(error) },
      'the LISTEN connection could not be restored; making a new one',
    );
    this.#discard();
    void this.#connectUntilHeard();
  }

  async #beat(): Promise<void> {
    if (!this.#listening || !this.#subscriber) return;
    const socket = this.#socket;
    const timer = setTimeout(() => socket?.destroy(), HEARTBEAT_TIMEOUT_MS);
    try {
      await this.#subscriber.listenTo(HEARTBEAT_CHANNEL);
      await this.#subscriber.unlisten(HEARTBEAT_CHANNEL);
    } catch {
      socket?.destroy();
    } finally {
      clearTimeout(timer);
    }
  }

  #discard(): void {
    const subscriber = this.#subscriber;
    this.#subscriber = undefined;
    if (!subscriber) return;
    for (const event of ['notification', 'reconnect', 'connected', 'error'] as const)
      subscriber.events.removeAllListeners(event);
    subscriber.events.on('error', () => undefined);
    subscriber.events.on('connected', () => void subscriber.close().catch(() => undefined));
    // Not awaited: on a half-open socket it would never answer.
    void subscriber.close().catch(() => undefined);
    this.#socket?.destroy();
  }
}

export interface NotificationListenerEvents {
  listening: [];
  deaf: [];
  notification: [channel: string];
  control: [];
}

export interface NotificationListenerDeps {
  readonly database: Database;
  readonly applicationName: string;
  readonly log: Logger;
}
