import { EventEmitter } from 'node:events';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { aborted, type Backoff, backoffDelayMs, pause } from '../backoff.ts';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory, ConnectionFeed } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { LimitedLog } from '../limited-log.ts';
import { Lease } from '../listener/lease.ts';
import { NotificationListener } from '../listener/notification-listener.ts';
import { Wakeup } from '../listener/wakeup.ts';
import { CursorStore, type StoredCursor, type UnusableCursor } from '../log/cursor-store.ts';
import type { Lag } from '../log/log-lag.ts';
import type { Database } from '../postgres/servers.ts';
import { Session } from '../postgres/session.ts';
import type { Gateway } from '../pusher/gateway.ts';
import {
  Term,
  type TermDeps,
  type TermEvents,
  type TermSettings,
  type TermState,
} from './leader.ts';

/** After a lost term or a database that cannot be reached: 0.1–0.2 s, then doubling, at most 2.5–5 s apart, for ever. */
const RETRY: Backoff = { baseMs: 200, capMs: 5000 };

/** A statement that takes longer means that the connection or the database is sick. The largest is one page of the log. */
const QUERY_TIMEOUT_MS = 15_000;

const COPY =
  'this database is a copy of the one Rowcast was installed in, and must not push to the clients of that one; if it has clients of its own, run: select rowcast.adopt()';
const EMPTY =
  'the schema rowcast was restored without its data; to install anew: drop schema rowcast cascade, then rowcast migrate up, and rowcast.watch() for each of your tables';
const UNUSABLE_POLL_MS = 10_000;

/**
 * The relay: joins the listener (Postgres) to the pusher (API Gateway). Of all relays on one database one
 * leads, the others stand by with their directory filled and their LISTEN in force.
 *
 *     starting ──▶ standby ⇄ leader
 *
 * A leader that loses its connection to the database stands in line again; what it had in flight is delivered
 * again by whoever leads next, from the cursor committed last.
 */
export class Relay extends EventEmitter<RelayEvents> {
  readonly #deps: RelayDeps;
  readonly #log: LimitedLog;
  readonly #notifications: NotificationListener;
  readonly #leaseMayBeFree = new Wakeup();
  readonly #stop = new AbortController();
  #role: Role = 'starting';
  #problem: string | null = null;
  #installation: string | null = null;
  #starting: Promise<void> | undefined;
  #campaign: Promise<void> = Promise.resolve();
  #term: Term | undefined;
  #lag: Lag | null = null;
  /** The commits of the cursor when this relay made its last. */
  #made: { readonly installation: string; commits: number } | null = null;

  constructor(deps: RelayDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
    this.#notifications = new NotificationListener({
      database: deps.database,
      applicationName: `rowcast listen ${hostname()}`,
      log: deps.log,
    });
  }

  /** Why it neither leads nor stands by, where that needs an operator. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Uuid of what is installed in the database; null for a relay that has not led. */
  get installation(): string | null {
    return this.#installation;
  }

  get role(): Role {
    return this.#role;
  }

  get listening(): boolean {
    return this.#notifications.listening;
  }

  /** How delivery stands now; null for a relay that does not lead. */
  get state(): TermState | null {
    return this.#term?.state() ?? null;
  }

  /** As measured last in this term; null before, and for a relay that does not lead. */
  get lag(): Lag | null {
    return this.#term ? this.#lag : null;
  }

  /** Connections that are being replayed to. */
  get joining(): number {
    return this.#term?.joining ?? 0;
  }

  /** Connections for which an event still waits. */
  waitingFor(eventId: string): readonly Connection[] {
    return this.#term?.waitingFor(eventId) ?? [];
  }

  /** Resolves once it leads or stands by, for as long as that takes. */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /** A leader delivers what is in flight and hands the lease over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#campaign;
    await Promise.all([this.#notifications.stop(), this.#deps.feed.stop()]);
    this.#setRole('stopped');
  }

  async #start(): Promise<void> {
    this.#notifications
      .on('control', () => this.#leaseMayBeFree.ring())
      .on('notification', () => this.emit('rung'))
      .on('deaf', () => this.emit('reconnect', 'doorbell'));
    this.on('lag', (lag) => {
      this.#lag = lag;
    });
    this.on('committed', () => {
      if (this.#made) this.#made.commits++;
    });
    void this.#notifications.start();
    const assumed = new Promise<void>((resolve) => this.once('role', () => resolve()));
    // Without the directory nobody could be delivered to; a relay that leads without it would count everything as delivered.
    await Promise.race([this.#deps.feed.start(), aborted(this.#stop.signal)]);
    if (!this.#stop.signal.aborted) this.#campaign = this.#stand();
    await Promise.race([assumed, aborted(this.#stop.signal)]);
  }

  async #stand(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const before = performance.now();
      try {
        await this.#lead();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        // A term that held for a while was no failure to get one.
        failures = performance.now() - before > RETRY.capMs ? 1 : failures + 1;
        const waitMs = Math.round(backoffDelayMs(RETRY, failures));
        this.#log.line(
          'warn',
          'database_lost',
          { event: 'database_lost', failures, waitMs, error: errorText(error) },
          'lost the database or the lease; standing in line again',
        );
        this.emit('reconnect', 'database');
        this.#setRole('starting');
        await pause(waitMs, this.#stop.signal);
      }
    }
  }

  /** Waits for the lease, then leads for one term. @throws why the term ended, unless it was stopped */
  async #lead(): Promise<void> {
    const { database, log } = this.#deps;
    const session = (purpose: string) => ({
      database,
      applicationName: `rowcast ${purpose} ${hostname()}`,
      queryTimeoutMs: QUERY_TIMEOUT_MS,
    });
    const lease = await Lease.acquire({
      session: session('lease'),
      signal: this.#stop.signal,
      onStandby: () => this.#setRole('standby'),
      onBroken: (holder) =>
        log.error(
          { event: 'lease_broken', ...holder },
          'the leader is frozen: ended its connection to take over',
        ),
      nextAttempt: async (ms) => void (await this.#leaseMayBeFree.wait(ms, this.#stop.signal)),
    });
    if (!lease) return;
    const sessions: Session[] = [];
    try {
      const cursor = new CursorStore(lease.session);
      const stored = await this.#readCursor(cursor);
      if (!stored) return;
      this.#installation = stored.installation;
      const feed = await Session.open(session('feed'));
      sessions.push(feed);
      const replays = await Session.open(session('replay'));
      sessions.push(replays);
      const emit = this.emit.bind(this) as TermDeps['emit'];
      const term = new Term(
        { ...this.#deps, notifications: this.#notifications, emit },
        { lease, cursor, stored, feed, replays },
      );
      this.#lag = null;
      this.#term = term;
      this.#setRole('leader');
      log.info(
        {
          event: 'leading',
          installation: stored.installation,
          cursor: stored.position.snapshot.text,
        },
        'leading: delivering from the committed cursor',
      );
      await term.run(this.#stop.signal);
    } catch (error) {
      // What broke one connection may have broken all: no farewell, which nobody might answer.
      for (const each of [...sessions, lease.session]) each.destroy();
      throw error;
    } finally {
      this.#term = undefined;
      await Promise.all(sessions.map((each) => each.close()));
      await lease.release();
    }
  }

  /** Null after some time where an operator has to act: a copy of a database is not to push to the original's clients. */
  async #readCursor(cursor: CursorStore): Promise<StoredCursor | null> {
    const { log, directory } = this.#deps;
    const read = () => cursor.read(directory.size > 0);
    let stored = await read();
    if (!stored.usable && stored.reason === 'void') {
      log.error(
        { event: 'cursor_void' },
        'the cursor names transactions that this database never had; starting over from now, and clients are told to fetch again',
      );
      await cursor.adopt();
      stored = await read();
    } else if (this.#isSetBack(stored)) {
      log.error(
        { event: 'database_set_back' },
        'the database is not the one that was delivered from: it was restored to an earlier moment, or a replica took over that may lack its last transactions; clients are told to fetch again',
      );
      await cursor.refetch();
      stored = await read();
    }
    if (stored.usable) {
      this.#problem = null;
      this.#made = { installation: stored.installation, commits: stored.commits };
      return stored;
    }
    const isEmpty = stored.reason === 'empty';
    this.#problem = isEmpty ? EMPTY : COPY;
    log.error({ event: isEmpty ? 'database_empty' : 'database_copied' }, this.#problem);
    await this.#leaseMayBeFree.wait(UNUSABLE_POLL_MS, this.#stop.signal);
    return null;
  }

  /** What it had committed is not there, or the database says of itself that it was replaced. */
  #isSetBack(stored: StoredCursor | UnusableCursor): boolean {
    if (!stored.usable) return stored.reason === 'replaced';
    return stored.installation === this.#made?.installation && stored.commits < this.#made.commits;
  }

  #setRole(role: Role): void {
    if (role === this.#role) return;
    this.#role = role;
    if (role === 'standby')
      this.#deps.log.info({ event: 'standby' }, 'another relay leads; standing by');
    if (role !== 'starting') this.emit('role', role);
  }
}

export type Role = 'starting' | 'standby' | 'leader' | 'stopped';

export interface RelayEvents extends TermEvents {
  role: [Role];
  /** A connection to Postgres was lost: the leader's own, or the one that hears the doorbell. */
  reconnect: ['database' | 'doorbell'];
  /** A notification was heard. */
  rung: [];
}

export interface RelayDeps {
  readonly database: Database;
  readonly directory: ConnectionDirectory;
  readonly feed: ConnectionFeed;
  readonly store: ConnectionStore;
  readonly gateway: Gateway;
  readonly settings: TermSettings;
  readonly log: Logger;
}
