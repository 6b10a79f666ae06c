import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import type { Emitter } from '../events.ts';
import { LimitedLog } from '../limited-log.ts';
import { Doorbell } from '../listener/doorbell.ts';
import type { Lease } from '../listener/lease.ts';
import type { Notifications } from '../listener/notification-listener.ts';
import { Wakeup } from '../listener/wakeup.ts';
import type { CommittedCursor, CursorStore, StoredCursor } from '../log/cursor-store.ts';
import { readDisconnected } from '../log/disconnected.ts';
import { DrainLoop } from '../log/drain-loop.ts';
import { EventLog } from '../log/event-log.ts';
import { LogLag } from '../log/log-lag.ts';
import { PagesInFlight } from '../log/pages-in-flight.ts';
import { Retention } from '../log/retention.ts';
import type { SqlSession } from '../postgres/session.ts';
import { OnlineTable } from '../presence/online-table.ts';
import { Presence } from '../presence/presence.ts';
import { Fanout } from '../pusher/fanout.ts';
import type { Gateway } from '../pusher/gateway.ts';
import { CursorTokens } from './cursor-tokens.ts';
import { Inheritance } from './inheritance.ts';
import { Membership } from './membership.ts';
import { PageDispatcher } from './page-dispatcher.ts';
import { CLOCK_MARGIN_MS, PositionHistory } from './position-history.ts';
import { Progress } from './progress.ts';
import { Recipients } from './recipients.ts';
import type { DeliverySettings, LeaderEvents } from './relay-events.ts';
import { Replay } from './replay.ts';

/**
 * The parts of a leader, made and joined. Everything is made for one leader and ends with it; only
 * the directory outlives it, so that a standby has it ready.
 *
 *     drain loop ── page ──▶ dispatcher ──▶ fan-out ── settled ──▶ pages in flight ──▶ progress
 *                                              ▲                                         ▲
 *     directory ── joined ──▶ recipients ──▶ replay                     recipients: who has what
 *         └──────────────────▶ presence
 */
export class LeaderParts {
  readonly #deps: LeaderDeps;
  readonly #inOffice: InOffice;
  readonly #cursors: CursorTokens;
  readonly #log: LimitedLog;
  readonly fanout: Fanout;
  readonly #history: PositionHistory;
  readonly inFlight: PagesInFlight;
  readonly drain: DrainLoop;
  readonly replay: Replay;
  readonly retention: Retention;
  readonly lag: LogLag;
  readonly wakeup: Wakeup;
  readonly recipients: Recipients;
  readonly membership: Membership;
  readonly presence: Presence;
  readonly progress: Progress;
  readonly #dispatcher: PageDispatcher;
  readonly #failed = new AbortController();
  /** Aborts with the cause when the leader cannot go on. */
  readonly lost: AbortSignal;
  /** The leader cannot go on. */
  readonly fail = (cause: unknown) => this.#failed.abort(cause);

  constructor(deps: LeaderDeps, inOffice: InOffice) {
    const { settings, clock, events, log } = deps;
    const { lease, cursor, stored, readSession, replaySession } = inOffice;
    const start = stored.position;
    this.#deps = deps;
    this.#inOffice = inOffice;
    this.#cursors = new CursorTokens(stored.installation, stored.cursorKeys);
    this.#log = new LimitedLog(log, clock);
    this.wakeup = new Wakeup(clock);
    const mayPost = () => lease.trusted;
    const { gateway } = deps;
    this.fanout = new Fanout({ ...settings, clock, events, gateway, log, mayPost });
    this.#history = new PositionHistory({
      atMs: stored.served.untilMs - CLOCK_MARGIN_MS,
      snapshot: stored.served.snapshot,
    });
    this.inFlight = new PagesInFlight({
      clock,
      maxBytes: settings.maxBytesInFlight,
      settled: (position) => this.progress.settled(position),
      stalled: (forMs, isFull) => this.fanout.passSlowest(forMs, isFull),
    });
    this.membership = new Membership({
      readSession,
      replaySession,
      log: this.#log,
      position: () => this.drain.position,
      isReplaying: (userId) => this.replay.isReplaying(userId),
      changed: (userId) => this.presence.membershipChanged(userId),
    });
    this.#dispatcher = new PageDispatcher({
      events,
      fanout: this.fanout,
      cursors: this.#cursors,
      maxFrameBytes: settings.maxFrameBytes,
      membership: this.membership,
      position: () => this.drain.position,
      durable: (place) => this.progress.durable(place),
      read: () => this.progress.read(),
    });
    this.drain = this.#makeDrain();
    this.retention = new Retention({
      clock,
      events,
      log,
      session: replaySession,
      settings: settings.retention,
      floor: stored.floor,
    });
    this.lag = new LogLag(replaySession);
    this.replay = this.#makeReplay();
    this.progress = new Progress({
      clock,
      start,
      readUpTo: () => this.drain.position,
      isIdle: () => this.inFlight.isEmpty,
      record: (settled) => this.recipients.record(settled),
      write: (row) => cursor.commit(row),
      committed: (row) => this.#committed(row),
      fail: this.fail,
    });
    this.recipients = this.#makeRecipients();
    this.presence = this.#makePresence();
    const sessions = [lease.session, readSession, replaySession];
    this.lost = AbortSignal.any([...sessions.map(({ ended }) => ended), this.#failed.signal]);
  }

  get doorbellTaken(): boolean {
    return this.#deps.settings.doorbell && this.#inOffice.lease.isQuiet;
  }

  #makeDrain(): DrainLoop {
    const { settings, clock, events, notifications } = this.#deps;
    const { lease, stored, readSession } = this.#inOffice;
    return new DrainLoop({
      clock,
      events,
      start: stored.position,
      log: this.#eventLog(readSession),
      doorbell: settings.doorbell ? new Doorbell({ session: lease.session }) : null,
      inFlight: this.inFlight,
      wakeup: this.wakeup,
      timing: settings.timing,
      canHear: () => notifications.listening && !lease.isQuiet,
      reached: (snapshot) => this.#history.record(clock.epochMs(), snapshot),
      prepare: (page, from) => this.membership.follow(page, from),
      deliver: (page, from) => this.#dispatcher.deliver(page, from),
    });
  }

  #makeReplay(): Replay {
    const { settings, clock, events, log: logger } = this.#deps;
    const { stored, replaySession } = this.#inOffice;
    return new Replay({
      clock,
      events,
      logger,
      log: this.#eventLog(replaySession),
      fanout: this.fanout,
      history: this.#history,
      cursors: this.#cursors,
      refetchBeforeMs: stored.refetchBeforeMs,
      maxFrameBytes: settings.maxFrameBytes,
      maxEvents: settings.replayMaxEvents,
      membership: this.membership,
      position: () => this.drain.position,
      isQuietSince: (place) => this.drain.isQuietSince(place),
      durable: (place) => this.progress.durable(place),
      floor: () => this.retention.floor,
      readFloor: () => this.retention.readFloor(),
      announce: (connections, upTo) => this.recipients.announce(connections, upTo),
      disconnected: (until, sinceMs) => readDisconnected(replaySession, until, sinceMs),
      dismiss: (connection, sent) => this.recipients.dismiss(connection, sent),
      goLive: (connection) => this.#dispatcher.arrive(connection),
      betweenReads: (work) => this.drain.betweenReads(work),
      fail: this.fail,
    });
  }

  #makeRecipients(): Recipients {
    const { clock, events, directory } = this.#deps;
    const { served, exceptions, position } = this.#inOffice.stored;
    const inheritance = new Inheritance({
      served,
      exceptions,
      start: position.snapshot,
      beganMs: clock.epochMs(),
      history: this.#history,
    });
    return new Recipients({
      clock,
      events,
      directory,
      fanout: this.fanout,
      replay: this.replay,
      membership: this.membership,
      history: this.#history,
      inheritance,
      servedUntilMs: served.untilMs,
      readUpTo: () => this.drain.position,
      committed: () => this.progress.committed,
      commit: () => this.progress.commit(),
      removeItem: (connection) => this.#removeItem(connection),
    });
  }

  #makePresence(): Presence {
    const { settings, clock, directory, events } = this.#deps;
    const { lease, replaySession } = this.#inOffice;
    return new Presence({
      clock,
      events,
      directory,
      fanout: this.fanout,
      table: new OnlineTable({ session: replaySession, term: lease.term }),
      postsPerSecondLimit: settings.postsPerSecondLimit,
      maxFrameBytes: settings.maxFrameBytes,
      roomsByTables: (userId) => this.membership.roomsNow(userId),
      failed: (error) => this.#presenceFailed(error),
    });
  }

  #presenceFailed(error: unknown): void {
    if (this.lost.aborted) return;
    this.#log.log(
      'warn',
      'presence_failed',
      { event: 'presence_failed', error: errorText(error) },
      'cannot read which rooms are watched, or write who is online; tried again',
    );
  }

  #eventLog(session: SqlSession): EventLog {
    const { pageRows, maxFrameBytes } = this.#deps.settings;
    return new EventLog({ session, pageRows, maxDataBytes: maxFrameBytes });
  }

  #committed({ position, served }: CommittedCursor): void {
    this.recipients.committed(position);
    this.#history.forgetBefore(served.untilMs - CLOCK_MARGIN_MS);
    this.#deps.events.emit('committed', position);
  }

  #removeItem({ connectionId, connectedAt }: Connection): void {
    this.#deps.store.remove(connectionId, connectedAt).catch((error: unknown) => {
      this.#log.log(
        'warn',
        'remove_failed',
        { event: 'remove_failed', connectionId, error: errorText(error) },
        'cannot remove a connection that is over from the table; its ttl will',
      );
    });
  }
}

/** Held by a relay while it leads. */
export interface InOffice {
  readonly lease: Lease;
  readonly cursor: CursorStore;
  /** As it was read when the lease was taken. */
  readonly stored: StoredCursor;
  /** Reads the log as it grows. */
  readonly readSession: SqlSession;
  /** Reads replays, and does all other work that may take long. */
  readonly replaySession: SqlSession;
}

export interface LeaderDeps {
  readonly clock: Clock;
  readonly events: Emitter<LeaderEvents>;
  readonly directory: ConnectionDirectory;
  readonly store: Pick<ConnectionStore, 'remove'>;
  readonly gateway: Gateway;
  readonly notifications: Notifications;
  readonly settings: DeliverySettings;
  readonly log: Logger;
}
