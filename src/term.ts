import type { Logger } from 'pino';
import type { Connection } from './connections/connection.ts';
import type { ConnectionDirectory } from './connections/connection-directory.ts';
import type { ConnectionStore } from './connections/connection-store.ts';
import { encodeEvent, pageBytes } from './framing.ts';
import { Doorbell } from './listener/doorbell.ts';
import { DrainLoop, type DrainTiming } from './listener/drain-loop.ts';
import { EventLog, type Page, type Position } from './listener/event-log.ts';
import type { Lease, Served, StoredCursor } from './listener/lease.ts';
import type { NotificationListener } from './listener/notification-listener.ts';
import { Retention, type RetentionSettings } from './listener/retention.ts';
import type { Session } from './listener/session.ts';
import { Snapshot } from './listener/snapshot.ts';
import { Wakeup } from './listener/wakeup.ts';
import { WindowsInFlight } from './listener/windows-in-flight.ts';
import { PositionHistory } from './position-history.ts';
import { type CursorSnapshot, formatCursor, installationTag } from './protocol/cursor.ts';
import { readyFrame } from './protocol/frame.ts';
import { Fanout } from './pusher/fanout.ts';
import type { Gateway } from './pusher/gateway-client.ts';
import type { PostOutcome } from './pusher/post-outcome.ts';
import { CLOCK_MARGIN_MS, Replay } from './replay.ts';

/**
 * `connectedAt` is when the upgrade began; `$connect` stores the item up to 29 s later. A connection is surely in a
 * read of the table only if it was made this long before the read began.
 */
const LATE_ITEM_MS = 30_000 + CLOCK_MARGIN_MS;

/** Connections that are just joining when the relay stops have this long: what is missed, the next relay replays. */
const JOIN_DEADLINE_MS = 2000;

/** A connection that has not caught up after this long is closed; what it lacks it gets by its own cursor. */
const BEHIND_DEADLINE_MS = 60_000;

/** What is in flight has this long to be delivered when the relay stops: ECS kills after 30 s. */
const DRAIN_DEADLINE_MS = 20_000;

/**
 * One term of a leader, from the cursor that was committed last to the loss of the lease or a clean stop.
 * Everything in it is made for it and ends with it; only the directory outlives a term, so that a standby has it
 * ready.
 *
 *     drain loop ── page ──▶ fan-out ── settled ──▶ windows in flight ── commit ──▶ lease
 *                              ▲
 *     directory ── joined ──▶ replay
 */
export class Term {
  readonly #deps: TermDeps;
  readonly #lease: Lease;
  readonly #stored: StoredCursor;
  readonly #installation: string;
  readonly #fanout: Fanout;
  readonly #history: PositionHistory;
  readonly #windows: WindowsInFlight;
  readonly #drain: DrainLoop;
  readonly #replay: Replay;
  readonly #retention: Retention;
  readonly #wakeup = new Wakeup();
  /** Live connections that have fallen behind. */
  readonly #behind = new Set<Connection>();
  /** Delivered to all but those; committed when they have it too. */
  #uncommitted: Position | undefined;
  readonly #failed = new AbortController();
  /** Aborts with the cause when the term cannot go on. */
  readonly #lost: AbortSignal;

  constructor(deps: TermDeps, held: { lease: Lease; stored: StoredCursor; feed: Session; replays: Session }) {
    const { settings, log: logger } = deps;
    this.#deps = deps;
    this.#lease = held.lease;
    this.#stored = held.stored;
    this.#installation = installationTag(held.stored.installation);
    this.#fanout = new Fanout({ ...settings, gateway: deps.gateway, log: logger, mayPost: () => held.lease.trusted });
    this.#history = new PositionHistory({
      atMs: held.stored.served.untilMs,
      snapshot: held.stored.served.snapshot,
    });
    this.#windows = new WindowsInFlight({
      maxBytes: settings.maxBytesInFlight,
      commit: (position) => this.#commit(position),
      stalled: () => this.#fanout.shedSlowest(),
    });
    const reading = { pageRows: settings.pageRows, maxDataBytes: settings.maxFrameBytes };
    this.#drain = new DrainLoop({
      start: held.stored.position,
      log: new EventLog({ session: held.feed, ...reading }),
      doorbell: settings.doorbell ? new Doorbell({ session: held.lease.session }) : null,
      windows: this.#windows,
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
    this.#replay = new Replay({
      log: new EventLog({ session: held.replays, ...reading }),
      fanout: this.#fanout,
      history: this.#history,
      installation: this.#installation,
      xmax: held.stored.xmax,
      maxFrameBytes: settings.maxFrameBytes,
      logger,
      position: () => this.#drain.position,
      floor: () => this.#retention.floor,
      holdFeed: (work) => this.#drain.hold(work),
      fail: (error) => this.#failed.abort(error),
    });
    this.#lost = AbortSignal.any([held.lease.session.ended, held.feed.ended, held.replays.ended, this.#failed.signal]);
  }

  /**
   * Delivers until `stop` aborts: then no window is opened any more, what is in flight is delivered, and the
   * cursor committed.
   * @throws the cause when the lease or the database is lost
   */
  async run(stop: AbortSignal): Promise<void> {
    const ring = () => this.#wakeup.ring();
    const joined = (connection: Connection) => this.#join(connection);
    const left = (connection: Connection) => this.#leave(connection);
    const { directory, notifications } = this.#deps;
    for (const event of ['notification', 'listening', 'deaf', 'control'] as const) notifications.on(event, ring);
    this.#fanout.on('posted', (connection, outcome) => this.#deps.emit('posted', connection, outcome));
    this.#retention.on('lost', () => this.#tellOfLoss()).on('removed', (rows) => this.#deps.emit('removed', rows));
    this.#fanout.on('gateway', (state, outcome) => this.#gatewayChanged(state, outcome));
    this.#fanout.on('behind', (connection, from) => this.#replayBehind(connection, from));
    this.#fanout.on('ended', (connection, why) => {
      this.#forget(connection);
      this.#deps.emit('ended', connection, why);
    });
    this.#drain
      .on('asleep', () => this.#deps.emit('asleep'))
      .on('awake', () => this.#deps.emit('awake'))
      .on('read', (page) => {
        this.#history.record(Date.now(), this.#drain.position.snapshot);
        if (page.events.length > 0) this.#deps.emit('read', page.events.length);
      });
    try {
      const servedByName = new Set(this.#stored.served.connections);
      for (const connection of directory.all()) this.#admit(connection, servedByName);
      directory.on('joined', joined).on('left', left);
      const ending = AbortSignal.any([stop, this.#lost]);
      this.#retention.run(ending).catch((error: unknown) => this.#failed.abort(error));
      await this.#drain.run(ending);
      this.#lost.throwIfAborted();
      const deadline = AbortSignal.any([this.#lost, AbortSignal.timeout(DRAIN_DEADLINE_MS)]);
      await Promise.all([this.#windows.empty(deadline), this.#replay.settled(AbortSignal.timeout(JOIN_DEADLINE_MS))]);
      if (!deadline.aborted && this.#behind.size === 0)
        await this.#lease.commitCursor(this.#drain.position, this.#servedByName());
    } finally {
      this.#fanout.stop();
      directory.off('joined', joined).off('left', left);
      for (const event of ['notification', 'listening', 'deaf', 'control'] as const) notifications.off(event, ring);
    }
  }

  /** A connection that was there when the term began: the leader before served it, or it joins. */
  #admit(connection: Connection, servedByName: ReadonlySet<string>): void {
    const served = connection.connectedAt < this.#stored.served.untilMs || servedByName.has(connection.connectionId);
    if (served) {
      this.#fanout.open(connection);
      this.#fanout.goLive(connection);
    } else this.#join(connection);
  }

  #join(connection: Connection): void {
    this.#fanout.open(connection);
    this.#replay.join(connection);
  }

  /** A connection whose token has expired is still open at the gateway, and its client must notice. */
  #leave(connection: Connection): void {
    if (connection.ttl * 1000 <= Date.now()) void this.#fanout.disconnect(connection);
    else this.#fanout.close(connection);
  }

  /**
   * A live connection fell behind and goes on from the log. The cursor waits for it: were it to move on, a relay that
   * takes over would know nothing of what this connection still lacks.
   */
  #replayBehind(connection: Connection, from: CursorSnapshot): void {
    const { xmin, xmax, xip } = from;
    const deadline = setTimeout(() => void this.#fanout.disconnect(connection), BEHIND_DEADLINE_MS);
    this.#behind.add(connection);
    this.#replay.join(connection, new Snapshot(xmin, xmax, xip), () => {
      clearTimeout(deadline);
      this.#behind.delete(connection);
      const position = this.#uncommitted;
      if (position) this.#commit(position).catch((error: unknown) => this.#failed.abort(error));
    });
    this.#deps.emit('behind', connection);
  }

  #deliver(page: Page, from: Position): { bytes: number; delivered: Promise<void> } {
    const { maxFrameBytes } = this.#deps.settings;
    // Where the window starts, not where it ends: see protocol/cursor.ts.
    const cursor = formatCursor(from.snapshot, this.#installation);
    const { bytes, settled } = this.#fanout.dispatch(
      page.events.map((event) => ({
        audience: event.audience,
        encode: () => encodeEvent(event, cursor, maxFrameBytes),
      })),
      from.snapshot,
    );
    return { bytes: bytes + pageBytes(page.events), delivered: settled };
  }

  async #commit(position: Position): Promise<void> {
    this.#uncommitted = this.#behind.size > 0 ? position : undefined;
    if (this.#uncommitted) return;
    const served = this.#served();
    await this.#lease.commitCursor(position, served);
    this.#history.forgetBefore(served.untilMs - CLOCK_MARGIN_MS);
    this.#deps.emit('committed', position);
  }

  /** Up to when every connection has had its replay, and where in the log that was. */
  #served(): Served {
    let untilMs = this.#deps.directory.asOf - LATE_ITEM_MS;
    for (const { connectedAt } of this.#replay.joining()) untilMs = Math.min(untilMs, connectedAt);
    if (untilMs <= this.#stored.served.untilMs) return this.#stored.served;
    return { untilMs, snapshot: this.#history.at(untilMs - CLOCK_MARGIN_MS), connections: [] };
  }

  /** The same, with the younger connections by name: too many to write at each commit. */
  #servedByName(): Served {
    const served = this.#served();
    const joining = new Set(this.#replay.joining());
    const connections = [...this.#deps.directory.all()].filter(
      (each) => each.connectedAt >= served.untilMs && !joining.has(each),
    );
    return { ...served, connections: connections.map(({ connectionId }) => connectionId) };
  }

  /** What retention had to remove undelivered is missing for every client. */
  #tellOfLoss(): void {
    const cursor = formatCursor(this.#drain.position.snapshot, this.#installation);
    void this.#fanout.dispatch([{ audience: ['all'], encode: () => Buffer.from(readyFrame(cursor, false)) }]);
  }

  #gatewayChanged(state: 'down' | 'up', outcome: PostOutcome): void {
    const { log, emit } = this.#deps;
    if (state === 'up') log.info({ event: 'gateway_up' }, 'the gateway answers again; delivering what waited');
    else
      log.error(
        { event: 'gateway_down', outcome },
        'the gateway does not answer; the cursor stays, and one post at a time probes it',
      );
    emit('gateway', state);
  }

  /** The gateway says that the connection is over, or it was closed because it could not be served. */
  #forget(connection: Connection): void {
    const { directory, store, log } = this.#deps;
    directory.forget(connection);
    store.remove(connection.connectionId, connection.connectedAt).catch((error: unknown) => {
      log.warn(
        { event: 'remove_failed', connectionId: connection.connectionId, error: String(error) },
        'cannot remove a connection that is over from the table; its ttl will',
      );
    });
  }
}

export interface TermEvents {
  posted: [Connection, PostOutcome];
  gateway: ['down' | 'up'];
  /** A connection is over by the gateway's word, or was closed because it could not be served. */
  ended: [Connection, why: 'gone' | 'closed'];
  /** A live connection could not keep up, and goes on from the log. */
  behind: [Connection];
  read: [rows: number];
  asleep: [];
  awake: [];
  committed: [Position];
  /** Rows that retention removed. */
  removed: [rows: number];
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

export interface TermSettings {
  readonly doorbell: boolean;
  readonly timing: DrainTiming;
  /** Rows that one statement reads. */
  readonly pageRows: number;
  /** Read and not yet delivered; the rest waits in Postgres. */
  readonly maxBytesInFlight: number;
  readonly maxFrameBytes: number;
  readonly maxPostsInFlight: number;
  readonly postsPerSecondLimit: number;
  readonly deliveryDeadlineMs: number;
  readonly retention: RetentionSettings;
}
