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
import { DrainLoop } from '../log/drain-loop.ts';
import { encodeEvent } from '../log/event-encoding.ts';
import { EventLog, type Page, type Position } from '../log/event-log.ts';
import { LogLag } from '../log/log-lag.ts';
import { PagesInFlight, pageBytes } from '../log/pages-in-flight.ts';
import { Retention } from '../log/retention.ts';
import type { SqlSession } from '../postgres/session.ts';
import { formatCursor, installationTag } from '../protocol/cursor.ts';
import { readyFrame } from '../protocol/frame.ts';
import { Fanout } from '../pusher/fanout.ts';
import type { Gateway } from '../pusher/gateway.ts';
import { Inheritance } from './inheritance.ts';
import { CLOCK_MARGIN_MS, PositionHistory } from './position-history.ts';
import { Progress } from './progress.ts';
import { Recipients } from './recipients.ts';
import type { DeliverySettings, LeaderEvents, LeaderState } from './relay-events.ts';
import { Replay } from './replay.ts';

/** After each of these the log is to be read: what was rung before may not have been heard. */
const RINGING = ['notification', 'listening', 'deaf', 'control'] as const;

/** After each of these the database may be another installation. */
const CONTROLLING = ['listening', 'control'] as const;

/** At a stop, connections that are joining have this long. The next relay replays the rest. */
const JOIN_DEADLINE_MS = 2000;

/** At a stop, what is in flight has this long. The process has 25 s for all (cli/process.ts). */
const DRAIN_DEADLINE_MS = 20_000;

/**
 * One relay's time as the leader, from the cursor that was committed last to the loss of the lease
 * or a clean stop. Everything in it is made for it and ends with it. Only the directory outlives
 * it, so that a standby has it ready.
 *
 *     drain loop ── page ──▶ fan-out ── settled ──▶ pages in flight ──▶ progress ── commit ──▶ cursor
 *                              ▲                                          ▲
 *     directory ── joined ──▶ recipients ──▶ replay                      recipients: who has what
 */
export class Leader {
  readonly #deps: LeaderDeps;
  readonly #cursor: CursorStore;
  readonly #installation: string;
  readonly #log: LimitedLog;
  readonly #fanout: Fanout;
  readonly #history: PositionHistory;
  readonly #inFlight: PagesInFlight;
  readonly #drain: DrainLoop;
  readonly #replay: Replay;
  readonly #retention: Retention;
  readonly #lag: LogLag;
  readonly #wakeup: Wakeup;
  readonly #recipients: Recipients;
  readonly #progress: Progress;
  /** READY, and live from the next window on: they have had the rest of this one. */
  #arrivals: Connection[] = [];
  readonly #failed = new AbortController();
  /** Aborts with the cause when the leader cannot go on. */
  readonly #lost: AbortSignal;

  constructor(deps: LeaderDeps, inOffice: InOffice) {
    const { settings, log: logger, clock, events } = deps;
    const { lease, stored, readSession, replaySession } = inOffice;
    this.#deps = deps;
    this.#cursor = inOffice.cursor;
    this.#installation = installationTag(stored.installation);
    this.#log = new LimitedLog(logger, clock);
    this.#wakeup = new Wakeup(clock);
    this.#fanout = new Fanout({
      ...settings,
      clock,
      events,
      gateway: deps.gateway,
      log: logger,
      mayPost: () => lease.trusted,
    });
    this.#history = new PositionHistory({
      atMs: stored.served.untilMs - CLOCK_MARGIN_MS,
      snapshot: stored.served.snapshot,
    });
    this.#inFlight = new PagesInFlight({
      clock,
      maxBytes: settings.maxBytesInFlight,
      settled: (position) => this.#progress.settled(position),
      stalled: (forMs, isFull) => this.#fanout.passSlowest(forMs, isFull),
    });
    const reading = { pageRows: settings.pageRows, maxDataBytes: settings.maxFrameBytes };
    this.#drain = new DrainLoop({
      clock,
      events,
      start: stored.position,
      log: new EventLog({ session: readSession, ...reading }),
      doorbell: settings.doorbell ? new Doorbell({ session: lease.session }) : null,
      inFlight: this.#inFlight,
      wakeup: this.#wakeup,
      timing: settings.timing,
      canHear: () => deps.notifications.listening,
      reached: (snapshot) => this.#history.record(clock.epochMs(), snapshot),
      deliver: (page, from) => this.#deliver(page, from),
    });
    this.#retention = new Retention({
      clock,
      events,
      session: replaySession,
      settings: settings.retention,
      floor: stored.floor,
      log: logger,
      lost: (rows) => this.#reportLoss(rows),
    });
    this.#lag = new LogLag(replaySession);
    this.#replay = new Replay({
      clock,
      events,
      log: new EventLog({ session: replaySession, ...reading }),
      fanout: this.#fanout,
      history: this.#history,
      installation: this.#installation,
      nextXid: stored.nextXid,
      refetchBeforeMs: stored.refetchBeforeMs,
      maxFrameBytes: settings.maxFrameBytes,
      logger,
      position: () => this.#drain.position,
      isQuietSince: (place) => this.#drain.isQuietSince(place),
      durable: (place) => this.#progress.durable(place),
      floor: () => this.#retention.floor,
      announce: (connections, upTo) => this.#recipients.announce(connections, upTo),
      goLive: (connection) => this.#arrive(connection),
      betweenReads: (work) => this.#drain.betweenReads(work),
      fail: (error) => this.#failed.abort(error),
    });
    this.#progress = new Progress({
      clock,
      start: stored.position,
      readUpTo: () => this.#drain.position,
      isIdle: () => this.#inFlight.isEmpty,
      record: (settled) => this.#recipients.record(settled),
      write: (row) => this.#cursor.commit(row),
      committed: (row) => this.#committed(row),
      fail: (error) => this.#failed.abort(error),
    });
    this.#recipients = new Recipients({
      clock,
      events,
      directory: deps.directory,
      fanout: this.#fanout,
      replay: this.#replay,
      history: this.#history,
      inheritance: new Inheritance({
        served: stored.served,
        exceptions: stored.exceptions,
        start: stored.position.snapshot,
        beganMs: clock.epochMs(),
      }),
      servedUntilMs: stored.served.untilMs,
      readUpTo: () => this.#drain.position,
      committed: () => this.#progress.committed,
      commit: () => this.#progress.commit(),
      removeItem: (connection) => this.#removeItem(connection),
    });
    const sessions = [lease.session, readSession, replaySession];
    this.#lost = AbortSignal.any([...sessions.map(({ ended }) => ended), this.#failed.signal]);
  }

  /**
   * Delivers until `stop` aborts. Then no window is opened any more, what is in flight is
   * delivered, and the cursor committed.
   * @throws the cause when the lease or the database is lost
   */
  async run(stop: AbortSignal): Promise<void> {
    const { notifications, clock, events } = this.#deps;
    const ring = () => this.#wakeup.ring();
    for (const event of RINGING) notifications.on(event, ring);
    const check = () =>
      void this.#cursor.check().catch((error: unknown) => this.#failed.abort(error));
    for (const event of CONTROLLING) notifications.on(event, check);
    try {
      this.#recipients.start();
      const ending = AbortSignal.any([stop, this.#lost]);
      const measured = this.#lag.run(clock, (lag) => events.emit('lag', lag), ending);
      for (const running of [this.#retention.run(ending), measured])
        running.catch((error: unknown) => this.#failed.abort(error));
      await this.#drain.run(ending);
      this.#lost.throwIfAborted();
      await this.#drainInFlight();
      this.#lost.throwIfAborted();
      await this.#progress.commit();
    } finally {
      this.#inFlight.stop();
      this.#fanout.stop();
      this.#recipients.stop();
      for (const event of RINGING) notifications.off(event, ring);
      for (const event of CONTROLLING) notifications.off(event, check);
    }
  }

  /** How delivery stands now. */
  state(): LeaderState {
    return {
      ...this.#fanout.state(),
      asleep: this.#drain.asleep,
      bytesInFlight: this.#inFlight.bytes,
      behind: this.#recipients.behind,
    };
  }

  /** Connections that are being replayed to. */
  get joining(): number {
    return this.#fanout.joining;
  }

  /** Connections for which an event still waits. */
  waitingFor(eventId: string): readonly Connection[] {
    return this.#fanout.waitingFor(eventId);
  }

  /**
   * Resolves when everything that was read is delivered, or is not in time. Not by
   * AbortSignal.timeout: AbortSignal.any lets go of it, and it never fires
   * (https://github.com/nodejs/node/issues/57736).
   */
  async #drainInFlight(): Promise<void> {
    const { clock } = this.#deps;
    const [late, tooLateToJoin] = [new AbortController(), new AbortController()];
    const timers = [
      clock.after(DRAIN_DEADLINE_MS, () => late.abort()),
      clock.after(JOIN_DEADLINE_MS, () => tooLateToJoin.abort()),
    ];
    const deadline = AbortSignal.any([this.#lost, late.signal]);
    await Promise.all([this.#inFlight.empty(deadline), this.#replay.settled(tooLateToJoin.signal)]);
    for (const timer of timers) timer.cancel();
  }

  #deliver(page: Page, from: Position): { bytes: number; delivered: Promise<void> } {
    const { settings, events } = this.#deps;
    // The start of the window and not its end: see protocol/cursor.ts.
    const cursor = formatCursor(this.#progress.durable(from.snapshot), this.#installation);
    if (!from.backlog) this.#welcome();
    const { bytes, settled } = this.#fanout.dispatch(
      page.events.map((event) => ({
        id: event.id,
        audience: event.audience,
        encode: () => encodeEvent(event, cursor, settings.maxFrameBytes),
      })),
      from.snapshot,
    );
    for (const { id, problem, audience } of page.events)
      if (problem !== null)
        events.emit('impaired', id, problem, audience.length === 0 ? 'nobody' : 'key');
    if (!page.next.backlog) this.#welcome();
    this.#progress.read();
    return { bytes: bytes + pageBytes(page.events), delivered: settled };
  }

  #arrive(connection: Connection): void {
    if (this.#drain.position.backlog) this.#arrivals.push(connection);
    else this.#fanout.goLive(connection);
  }

  /** A window is over: from the next one on arrivals get what is dispatched. */
  #welcome(): void {
    for (const connection of this.#arrivals.splice(0)) this.#fanout.goLive(connection);
  }

  #committed({ position, served }: CommittedCursor): void {
    this.#recipients.committed(position);
    this.#history.forgetBefore(served.untilMs - CLOCK_MARGIN_MS);
    this.#deps.events.emit('committed', position);
  }

  /** Every client is missing what retention had to remove undelivered. */
  #reportLoss(rows: number): void {
    this.#deps.events.emit('lost', rows);
    const place = this.#progress.durable(this.#drain.position.snapshot);
    const ready = readyFrame(formatCursor(place, this.#installation), false);
    void this.#fanout.dispatch([{ audience: ['all'], encode: () => Buffer.from(ready) }]);
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
