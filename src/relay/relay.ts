import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { aborted, type Clock, pause } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory, ConnectionFeed } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { LimitedLog } from '../limited-log.ts';
import { type DoorbellHolder, Lease } from '../listener/lease.ts';
import type { Notifications } from '../listener/notification-listener.ts';
import { Wakeup } from '../listener/wakeup.ts';
import { CursorStore } from '../log/cursor-store.ts';
import type { Lag } from '../log/log-lag.ts';
import type { SqlSession } from '../postgres/session.ts';
import type { Gateway } from '../pusher/gateway.ts';
import type { Service } from '../service.ts';
import { CursorCheck } from './cursor-check.ts';
import { Leader } from './leader.ts';
import type { DeliverySettings, LeaderState, RelayEvents, Role } from './relay-events.ts';

/** After a loss of the database: 0.1–0.2 s, then doubling, at most 2.5–5 s apart, for ever. */
const RETRY: Backoff = { baseMs: 200, capMs: 5000 };

/** How often an unusable cursor is read again. */
const UNUSABLE_POLL_MS = 10_000;

/**
 * The relay: joins the log (Postgres) to the pusher (API Gateway). Of all relays on one database
 * one leads. The others stand by with their directory filled and their LISTEN in force.
 *
 *     starting ──▶ standby ⇄ leader
 *
 * A leader that loses its connection to the database stands in line again. The next leader delivers
 * again what was in flight, from the cursor committed last.
 */
export class Relay extends EventEmitter<RelayEvents> implements Service {
  readonly #deps: RelayDeps;
  readonly #log: LimitedLog;
  readonly #leaseMayBeFree: Wakeup;
  readonly #stop = new AbortController();
  #role: Role = 'starting';
  readonly #check: CursorCheck;
  #installation: string | null = null;
  #starting: Promise<void> | undefined;
  #campaign: Promise<void> = Promise.resolve();
  #leader: Leader | undefined;
  #lag: Lag | null = null;

  constructor(deps: RelayDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log, deps.clock);
    this.#check = new CursorCheck(deps.log);
    this.#leaseMayBeFree = new Wakeup(deps.clock);
  }

  /** Why it neither leads nor stands by, where that needs an operator. */
  get problem(): string | null {
    return this.#check.problem;
  }

  /** Uuid of what is installed in the database; null for a relay that has not led. */
  get installation(): string | null {
    return this.#installation;
  }

  get role(): Role {
    return this.#role;
  }

  get listening(): boolean {
    return this.#deps.notifications.listening;
  }

  /** How delivery stands now; null for a relay that does not lead. */
  get state(): LeaderState | null {
    return this.#leader?.state() ?? null;
  }

  /** As measured last while it leads; null before, and for a relay that does not lead. */
  get lag(): Lag | null {
    return this.#leader ? this.#lag : null;
  }

  /** Connections that are being replayed to. */
  get joining(): number {
    return this.#leader?.joining ?? 0;
  }

  /** Connections for which an event still waits. */
  waitingFor(eventId: string): readonly Connection[] {
    return this.#leader?.waitingFor(eventId) ?? [];
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
    await Promise.all([this.#deps.notifications.stop(), this.#deps.feed.stop()]);
    this.#setRole('stopped');
  }

  async #start(): Promise<void> {
    this.#deps.notifications
      .on('control', () => this.#leaseMayBeFree.ring())
      .on('notification', () => this.emit('rung'))
      .on('deaf', () => this.emit('reconnect', 'doorbell'));
    this.on('lag', (lag) => {
      this.#lag = lag;
    });
    this.on('committed', () => this.#check.committed());
    void this.#deps.notifications.start();
    const assumed = new Promise<void>((resolve) => this.once('role', () => resolve()));
    // Without the directory nobody could be delivered to; a relay that leads without it would count
    // everything as delivered.
    await Promise.race([this.#deps.feed.start(), aborted(this.#stop.signal)]);
    if (!this.#stop.signal.aborted) this.#campaign = this.#stand();
    await Promise.race([assumed, aborted(this.#stop.signal)]);
  }

  async #stand(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const before = this.#deps.clock.uptimeMs();
      try {
        await this.#lead();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        // A relay that led for a while did not fail to get there.
        failures = this.#deps.clock.uptimeMs() - before > RETRY.capMs ? 1 : failures + 1;
        const waitMs = Math.round(backoffDelayMs(this.#deps.clock, RETRY, failures));
        this.#log.log(
          'warn',
          'database_lost',
          { event: 'database_lost', failures, waitMs, error: errorText(error) },
          'lost the database or the lease; standing in line again',
        );
        this.emit('reconnect', 'database');
        this.#setRole('starting');
        await pause(this.#deps.clock, waitMs, this.#stop.signal);
      }
    }
  }

  /** Waits for the lease, then leads. @throws why that ended, unless it was stopped */
  async #lead(): Promise<void> {
    const { log, clock, openSession, directory } = this.#deps;
    const lease = await Lease.acquire({
      clock,
      name: this.#deps.name,
      open: () => openSession('lease'),
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
    const sessions: SqlSession[] = [];
    const open = async (purpose: 'read' | 'replay') => {
      const session = await openSession(purpose);
      sessions.push(session);
      return session;
    };
    try {
      const cursor = new CursorStore(lease);
      const stored = await this.#check.read(cursor, directory.size > 0);
      if (!stored) {
        await this.#leaseMayBeFree.wait(UNUSABLE_POLL_MS, this.#stop.signal);
        return;
      }
      this.#installation = stored.installation;
      const readSession = await open('read');
      const replaySession = await open('replay');
      this.#lag = null;
      this.#leader = new Leader(
        { ...this.#deps, events: this },
        { lease, cursor, stored, readSession, replaySession },
      );
      lease.onQuiet((holders) => this.#doorbellTaken(lease.isQuiet, holders));
      this.#setRole('leader');
      log.info(
        {
          event: 'leading',
          installation: stored.installation,
          cursor: stored.position.snapshot.text,
        },
        'leading: delivering from the committed cursor',
      );
      await this.#leader.run(this.#stop.signal);
    } catch (error) {
      // The cause may have broken every connection: none of them is closed politely.
      for (const each of [...sessions, lease.session]) each.destroy();
      throw error;
    } finally {
      this.#leader = undefined;
      await Promise.all(sessions.map((each) => each.close()));
      await lease.release();
    }
  }

  /** The drain loop looks again whether it may sleep. */
  #doorbellTaken(isTaken: boolean, [holder]: readonly DoorbellHolder[]): void {
    this.#leader?.wake();
    if (isTaken)
      this.#log.log(
        'warn',
        'doorbell_taken',
        { event: 'doorbell_taken', ...holder },
        "another session has the doorbell's lock, or waits for it: nobody rings, and rows are polled; end that session",
      );
    else
      this.#log.log(
        'info',
        'doorbell_taken',
        { event: 'doorbell_free' },
        "nobody else has the doorbell's lock any more",
      );
  }

  #setRole(role: Role): void {
    if (role === this.#role) return;
    this.#role = role;
    if (role === 'standby')
      this.#deps.log.info({ event: 'standby' }, 'another relay leads; standing by');
    if (role !== 'starting') this.emit('role', role);
  }
}

export interface RelayDeps {
  readonly clock: Clock;
  /** As `rowcast status` shows it: the host. */
  readonly name: string;
  /** Opens a session of its own to the database. */
  openSession(purpose: 'lease' | 'read' | 'replay'): Promise<SqlSession>;
  readonly notifications: Notifications;
  readonly directory: ConnectionDirectory;
  readonly feed: ConnectionFeed;
  readonly store: Pick<ConnectionStore, 'remove'>;
  readonly gateway: Gateway;
  readonly settings: DeliverySettings;
  readonly log: Logger;
}
