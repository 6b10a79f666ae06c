import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { LimitedLog } from '../limited-log.ts';
import type { Served } from '../listener/cursor-store.ts';
import { Snapshot } from '../listener/snapshot.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import type { Fanout } from '../pusher/fanout.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import type { Replay } from './replay.ts';

/**
 * `connectedAt` is when the upgrade began; `$connect` stores the item up to 29 s later. A connection is surely in a
 * read of the table only if it was made this long before the read began.
 */
const LATE_ITEM_MS = 30_000 + CLOCK_MARGIN_MS;

/** A connection that fell behind and has not caught up after this long is closed; what it lacks it gets by its own cursor. */
const BEHIND_DEADLINE_MS = 60_000;

/**
 * Which connections are delivered to in a term, and how: live from the committed cursor where the leader before
 * has served them, after a replay where not, again from the log where they fell behind, and no more once they are over.
 * Keeps the record of who was served, which is committed with the cursor.
 */
export class Membership extends EventEmitter<MembershipEvents> {
  readonly #deps: MembershipDeps;
  readonly #log: LimitedLog;
  /**
   * Connections that lack what was settled for them, and from where in the log on: those that fell behind and those whose
   * sockets are being closed. The cursor does not pass the earliest: a relay that takes over knows nothing else of what they lack.
   */
  readonly #lacking = new Map<Connection, Snapshot>();
  readonly #joined = (connection: Connection) => this.#join(connection);
  readonly #left = (connection: Connection) => this.#leave(connection);
  readonly #overdue = (connection: Connection) => void this.#deps.fanout.disconnect(connection);

  constructor(deps: MembershipDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
  }

  /** Connections that have fallen behind, or are being closed because they cannot be served. */
  get behind(): number {
    return this.#lacking.size;
  }

  /** Who lacks most has everything up to here; undefined while nobody lacks anything. */
  get heldAt(): Snapshot | undefined {
    let earliest: Snapshot | undefined;
    for (const from of this.#lacking.values()) if (!earliest || from.isBefore(earliest)) earliest = from;
    return earliest;
  }

  start(): void {
    const { directory, fanout, served } = this.#deps;
    const named = new Set(served.connections);
    for (const connection of directory.all()) {
      if (connection.connectedAt >= served.untilMs && !named.has(connection.connectionId)) this.#join(connection);
      else {
        fanout.open(connection);
        fanout.goLive(connection);
      }
    }
    for (const connection of directory.overdue()) this.#overdue(connection);
    directory.on('joined', this.#joined).on('left', this.#left).on('overdue', this.#overdue);
    fanout
      .on('lacking', (connection, from) => this.#hold(connection, from))
      .on('behind', (connection, from) => this.#replayBehind(connection, from))
      .on('ended', (connection) => this.#forget(connection));
  }

  stop(): void {
    this.#deps.directory.off('joined', this.#joined).off('left', this.#left).off('overdue', this.#overdue);
  }

  /** Up to when every connection has had its replay, and where in the log that was. */
  served(): Served {
    const { directory, replay, history, served } = this.#deps;
    let untilMs = directory.asOf - LATE_ITEM_MS;
    for (const connection of replay.joining())
      if (!this.#lacking.has(connection)) untilMs = Math.min(untilMs, connection.connectedAt);
    if (untilMs <= served.untilMs) return served;
    return { untilMs, snapshot: history.at(untilMs - CLOCK_MARGIN_MS), connections: [] };
  }

  /** The same, with the younger connections by name: too many to write at each commit. */
  servedByName(): Served {
    const served = this.served();
    const joining = new Set(this.#deps.replay.joining());
    const younger = [...this.#deps.directory.all()].filter(
      (each) => each.connectedAt >= served.untilMs && !joining.has(each),
    );
    return { ...served, connections: younger.map(({ connectionId }) => connectionId) };
  }

  #join(connection: Connection): void {
    this.#deps.fanout.open(connection);
    this.#deps.replay.join(connection);
  }

  /** A connection whose token has expired is still open at the gateway, and its client must notice. */
  #leave(connection: Connection): void {
    if (connection.ttl * 1000 <= Date.now()) void this.#deps.fanout.disconnect(connection);
    else this.#deps.fanout.close(connection);
    this.#release(connection);
  }

  #hold(connection: Connection, from: CursorSnapshot | undefined): void {
    const { committed } = this.#deps;
    this.#lacking.set(connection, from ? new Snapshot(from.xmin, from.xmax, from.xip) : committed());
  }

  #release(connection: Connection): void {
    if (this.#lacking.delete(connection)) this.emit('released');
  }

  /** A live connection fell behind, and goes on from the log. */
  #replayBehind(connection: Connection, { xmin, xmax, xip }: CursorSnapshot): void {
    const { fanout, replay } = this.#deps;
    const deadline = setTimeout(() => void fanout.disconnect(connection), BEHIND_DEADLINE_MS);
    replay.join(connection, new Snapshot(xmin, xmax, xip), () => {
      clearTimeout(deadline);
      // One that is being closed still lacks what it lacked.
      if (fanout.has(connection)) this.#release(connection);
    });
  }

  /** The gateway says that the connection is over, or it was closed because it could not be served. */
  #forget(connection: Connection): void {
    const { directory, store } = this.#deps;
    const { connectionId, connectedAt } = connection;
    directory.forget(connection);
    this.#release(connection);
    store.remove(connectionId, connectedAt).catch((error: unknown) => {
      this.#log.line(
        'warn',
        'remove_failed',
        { event: 'remove_failed', connectionId, error: errorText(error) },
        'cannot remove a connection that is over from the table; its ttl will',
      );
    });
  }
}

export interface MembershipEvents {
  /** A connection lacks nothing any more, or is over: `heldAt` may have moved. */
  released: [];
}

export interface MembershipDeps {
  readonly directory: ConnectionDirectory;
  readonly store: ConnectionStore;
  readonly fanout: Fanout;
  readonly replay: Replay;
  readonly history: PositionHistory;
  /** As the leader before left it. */
  readonly served: Served;
  readonly log: Logger;
  /** The snapshot of the cursor that was committed last. */
  committed(): Snapshot;
}
