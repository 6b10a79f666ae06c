import type { Logger } from 'pino';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { Doorbell } from '../listener/doorbell.ts';
import type { Lease } from '../listener/lease.ts';
import type { NotificationListener } from '../listener/notification-listener.ts';
import { Wakeup } from '../listener/wakeup.ts';
import type { CommittedCursor, CursorStore, StoredCursor } from '../log/cursor-store.ts';
import { DrainLoop } from '../log/drain-loop.ts';
import { encodeEvent } from '../log/event-encoding.ts';
import { EventLog, type Page, type Position } from '../log/event-log.ts';
import { LogLag } from '../log/log-lag.ts';
import { PagesInFlight, pageBytes } from '../log/pages-in-flight.ts';
import { Retention } from '../log/retention.ts';
import type { Session } from '../postgres/session.ts';
import { formatCursor, installationTag } from '../protocol/cursor.ts';
import { readyFrame } from '../protocol/frame.ts';
import { Fanout } from '../pusher/fanout.ts';
import type { Gateway } from '../pusher/gateway.ts';
import type { TermEvents, TermSettings, TermState } from './leader-events.ts';
import { CLOCK_MARGIN_MS, PositionHistory } from './position-history.ts';
import { Progress } from './progress.ts';
import { Recipients } from './recipients.ts';
import { Replay } from './replay.ts';

export type { TermEvents, TermSettings, TermState } from './leader-events.ts';

/** Whatever these say, the log is to be read: what was rung before may not have been heard. */
const RINGING = ['notification', 'listening', 'deaf', 'control'] as const;

/** After these it may be another installation. */
const CONTROLLING = ['listening', 'control'] as const;

/** Connections that are just joining when the relay stops have this long: what is missed, the next relay replays. */
const JOIN_DEADLINE_MS = 2000;

/** What is in flight has this long to be delivered when the relay stops, which has 25 s for all (main.ts). */
const DRAIN_DEADLINE_MS = 20_000;

/**
 * One term of a leader, from the cursor that was committed last to the loss of the lease or a clean stop.
 * Everything in it is made for it and ends with it; only the directory outlives a term, so that a standby has it
 * ready.
 *
 *     drain loop ── page ──▶ fan-out ── settled ──▶ pages in flight ──▶ progress ── commit ──▶ cursor
 *                              ▲                                          ▲
 *     directory ── joined ──▶ recipients ──▶ replay                      recipients: who lacks what
 */
export class Term {
  readonly #deps: TermDeps;
  readonly #cursor: CursorStore;
  readonly #installation: string;
  readonly #fanout: Fanout;
  readonly #history: PositionHistory;
  readonly #inFlight: PagesInFlight;
  readonly #drain: DrainLoop;
  readonly #replay: Replay;
  readonly #retention: Retention;
  readonly #lag: LogLag;
  readonly #wakeup = new Wakeup();
  readonly #recipients: Recipients;
  readonly #progress: Progress;
  /** READY, and live from the feed's next window on: what is left of this one they have had. */
  #arrivals: Connection[] = [];
  readonly #failed = new AbortController();
  /** Aborts with the cause when the term cannot go on. */
  readonly #lost: AbortSignal;

  constructor(
    deps: TermDeps,
    held: {
      lease: Lease;
      cursor: CursorStore;
      stored: StoredCursor;
      feed: Session;
      replays: Session;
    },
  ) {
    const { settings, log: logger } = deps;
    this.#deps = deps;
    this.#cursor = held.cursor;
    this.#installation = installationTag(held.stored.installation);
    this.#fanout = new Fanout({
      ...settings,
      gateway: deps.gateway,
      log: logger,
      mayPost: () => held.lease.trusted,
    });
    this.#history = new PositionHistory({
      atMs: held.stored.served.untilMs - CLOCK_MARGIN_MS,
      snapshot: held.stored.served.snapshot,
    });
    this.#inFlight = new PagesInFlight({
      maxBytes: settings.maxBytesInFlight,
      settled: (position) => this.#progress.settled(position),
      stalled: (forMs, isFull) => this.#fanout.passSlowest(forMs, isFull),
    });
    const reading = { pageRows: settings.pageRows, maxDataBytes: settings.maxFrameBytes };
    this.#drain = new DrainLoop({
      start: held.stored.position,
      log: new EventLog({ session: held.feed, ...reading }),
      doorbell: settings.doorbell ? new Doorbell({ session: held.lease.session }) : null,
      inFlight: this.#inFlight,
      wakeup: this.#wakeup,
      timing: settings.timing,
      canHear: () => deps.notifications.listening,
      deliver: (page, from) => this.#deliver(page, from),
    });
    this.#retention = new Retention({
      session: held.replays,
      settings: settings.retention,
      floor: held.stored.floor,
      log: logger,
    });
    this.#lag = new LogLag(held.replays);
    this.#replay = new Replay({
      log: new EventLog({ session: held.replays, ...reading }),
      fanout: this.#fanout,
      history: this.#history,
      installation: this.#installation,
      xmax: held.stored.xmax,
      adoptedAtMs: held.stored.adoptedAtMs,
      maxFrameBytes: settings.maxFrameBytes,
      logger,
      position: () => this.#drain.position,
      isQuietSince: (place) => this.#drain.isQuietSince(place),
      durable: (place) => this.#progress.durable(place),
      floor: () => this.#retention.floor,
      announce: (connections, until) => this.#recipients.announce(connections, until),
      goLive: (connection) => this.#arrive(connection),
      holdFeed: (work) => this.#drain.hold(work),
      fail: (error) => this.#failed.abort(error),
    });
    this.#progress = new Progress({
      start: held.stored.position,
      readUpTo: () => this.#drain.position,
      isIdle: () => this.#inFlight.isEmpty,
      record: (settled) => this.#recipients.record(settled),
      write: (row) => held.cursor.commit(row),
      committed: (row) => this.#committed(row),
      fail: (error) => this.#failed.abort(error),
    });
    this.#recipients = new Recipients({
      ...deps,
      fanout: this.#fanout,
      replay: this.#replay,
      history: this.#history,
      served: held.stored.served,
      exceptions: held.stored.exceptions,
      start: held.stored.position.snapshot,
      readUpTo: () => this.#drain.position,
      committed: () => this.#progress.committed,
      commit: () => this.#progress.commit(),
    });
    this.#lost = AbortSignal.any([
      held.lease.session.ended,
      held.feed.ended,
      held.replays.ended,
      this.#failed.signal,
    ]);
  }

  /**
   * Delivers until `stop` aborts: then no window is opened any more, what is in flight is delivered, and the
   * cursor committed.
   * @throws the cause when the lease or the database is lost
   */
  async run(stop: AbortSignal): Promise<void> {
    const ring = () => this.#wakeup.ring();
    const { notifications } = this.#deps;
    for (const event of RINGING) notifications.on(event, ring);
    const controlled = () =>
      void this.#cursor.check().catch((error: unknown) => this.#failed.abort(error));
    for (const event of CONTROLLING) notifications.on(event, controlled);
    this.#reportDelivery();
    this.#retention
      .on('lost', (rows) => this.#tellOfLoss(rows))
      .on('removed', (rows) => this.#deps.emit('removed', rows));
    this.#lag.on('lag', (lag) => this.#deps.emit('lag', lag));
    this.#drain
      .on('asleep', () => this.#deps.emit('asleep'))
      .on('awake', () => this.#deps.emit('awake'))
      .on('read', (page) => {
        this.#history.record(Date.now(), this.#drain.position.snapshot);
        this.#deps.emit('read', page.events.length);
      });
    try {
      this.#recipients.start();
      const ending = AbortSignal.any([stop, this.#lost]);
      for (const running of [this.#retention.run(ending), this.#lag.run(ending)])
        running.catch((error: unknown) => this.#failed.abort(error));
      await this.#drain.run(ending);
      this.#lost.throwIfAborted();
      // Not AbortSignal.timeout: AbortSignal.any lets go of it, and it never fires (https://github.com/nodejs/node/issues/57736).
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), DRAIN_DEADLINE_MS).unref();
      const deadline = AbortSignal.any([this.#lost, late.signal]);
      await Promise.all([
        this.#inFlight.empty(deadline),
        this.#replay.settled(AbortSignal.timeout(JOIN_DEADLINE_MS)),
      ]);
      clearTimeout(timer);
      this.#lost.throwIfAborted();
      await this.#progress.commit();
    } finally {
      this.#inFlight.stop();
      this.#fanout.stop();
      this.#recipients.stop();
      for (const event of RINGING) notifications.off(event, ring);
      for (const event of CONTROLLING) notifications.off(event, controlled);
    }
  }

  /** How delivery stands now. */
  state(): TermState {
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

  #deliver(page: Page, from: Position): { bytes: number; delivered: Promise<void> } {
    const { maxFrameBytes } = this.#deps.settings;
    // Where the window starts, not where it ends: see protocol/cursor.ts.
    const cursor = formatCursor(this.#progress.durable(from.snapshot), this.#installation);
    if (!from.backlog) this.#welcome();
    const { bytes, settled } = this.#fanout.dispatch(
      page.events.map((event) => ({
        id: event.id,
        audience: event.audience,
        encode: () => encodeEvent(event, cursor, maxFrameBytes),
      })),
      from.snapshot,
    );
    for (const { id, problem, audience } of page.events)
      if (problem !== null)
        this.#deps.emit('impaired', id, problem, audience.length === 0 ? 'nobody' : 'key');
    if (!page.next.backlog) this.#welcome();
    this.#progress.read();
    return { bytes: bytes + pageBytes(page.events), delivered: settled };
  }

  #arrive(connection: Connection): void {
    if (this.#drain.position.backlog) this.#arrivals.push(connection);
    else this.#fanout.goLive(connection);
  }

  /** A window is over: from the next one on they get what is dispatched. */
  #welcome(): void {
    for (const connection of this.#arrivals.splice(0)) this.#fanout.goLive(connection);
  }

  #committed({ position, served }: CommittedCursor): void {
    this.#recipients.committed(position);
    this.#history.forgetBefore(served.untilMs - CLOCK_MARGIN_MS);
    this.#deps.emit('committed', position);
  }

  /** What retention had to remove undelivered is missing for every client. */
  #tellOfLoss(rows: number): void {
    this.#deps.emit('lost', rows);
    const cursor = formatCursor(
      this.#progress.durable(this.#drain.position.snapshot),
      this.#installation,
    );
    void this.#fanout.dispatch([
      { audience: ['all'], encode: () => Buffer.from(readyFrame(cursor, false)) },
    ]);
  }

  /** For metrics, logs and status, which hang on the relay's events. */
  #reportDelivery(): void {
    const { emit } = this.#deps;
    this.#fanout
      .on('dispatched', (...event) => emit('dispatched', ...event))
      .on('posted', (...post) => emit('posted', ...post))
      .on('paced', (postsPerSecond) => emit('paced', postsPerSecond))
      .on('gateway', (state, outcome) => emit('gateway', state, outcome))
      .on('behind', (connection) => emit('behind', connection))
      .on('lagging', (connection) => emit('behind', connection))
      .on('ended', (connection, why) => emit('ended', connection, why));
    this.#replay
      .on('joining', (connection) => emit('joining', connection))
      .on('replayed', (frames) => emit('replayed', frames))
      .on('ready', (connection, recovered) => emit('ready', connection, recovered));
  }
}

export interface TermDeps {
  readonly directory: ConnectionDirectory;
  readonly store: ConnectionStore;
  readonly gateway: Gateway;
  readonly notifications: NotificationListener;
  readonly settings: TermSettings;
  readonly log: Logger;
  /** For metrics, status and tests. */
  emit<Name extends keyof TermEvents>(name: Name, ...values: TermEvents[Name]): void;
}
