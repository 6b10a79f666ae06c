import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { Connection } from './connections/connection.ts';
import type { ConnectionDirectory } from './connections/connection-directory.ts';
import type { ConnectionStore } from './connections/connection-store.ts';
import { errorText } from './error-text.ts';
import { LimitedLog } from './limited-log.ts';
import type { Served } from './listener/lease.ts';
import { Snapshot } from './listener/snapshot.ts';
import type { PositionHistory } from './position-history.ts';
import type { CursorSnapshot } from './protocol/cursor.ts';
import type { Fanout } from './pusher/fanout.ts';
import { CLOCK_MARGIN_MS, type Replay } from './replay.ts';

/**
 * `connectedAt` is when the upgrade began; `$connect` stores the item up to 29 s later. A connection is surely in a
 * read of the table only if it was made this long before the read began.
 */
const LATE_ITEM_MS = 30_000 + CLOCK_MARGIN_MS;

/** A connection that has not caught up after this long is closed; what it lacks it gets by its own cursor. */
const BEHIND_DEADLINE_MS = 60_000;

/**
 * Which connections are delivered to in a term, and how: live from the committed cursor where the leader before
 * has served them, after a replay where not, again from the log where they fell behind, and no more once they are over.
 * Keeps the record of who was served, which is committed with the cursor.
 */
export class Membership extends EventEmitter<MembershipEvents> {
  readonly #deps: MembershipDeps;
  readonly #log: LimitedLog;
  /** Live connections that have fallen behind. */
  readonly #behind = new Set<Connection>();
  readonly #joined = (connection: Connection) => this.#join(connection);
  readonly #left = (connection: Connection) => this.#leave(connection);
  readonly #overdue = (connection: Connection) => void this.#deps.fanout.disconnect(connection);

  constructor(deps: MembershipDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
  }

  /** Connections fell behind that have not caught up: the cursor waits for them. */
  get someBehind(): boolean {
    return this.#behind.size > 0;
  }

  /** How many. */
  get behind(): number {
    return this.#behind.size;
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
    fanout.on('behind', (connection, from) => this.#replayBehind(connection, from));
    fanout.on('ended', (connection) => this.#forget(connection));
  }

  stop(): void {
    this.#deps.directory.off('joined', this.#joined).off('left', this.#left).off('overdue', this.#overdue);
  }

  /** Up to when every connection has had its replay, and where in the log that was. */
  served(): Served {
    const { directory, replay, history, served } = this.#deps;
    let untilMs = directory.asOf - LATE_ITEM_MS;
    for (const { connectedAt } of replay.joining()) untilMs = Math.min(untilMs, connectedAt);
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
  }

  /**
   * A live connection fell behind and goes on from the log. The cursor waits for it: were it to move on, a relay that
   * takes over would know nothing of what this connection still lacks.
   */
  #replayBehind(connection: Connection, { xmin, xmax, xip }: CursorSnapshot): void {
    const deadline = setTimeout(() => void this.#deps.fanout.disconnect(connection), BEHIND_DEADLINE_MS);
    this.#behind.add(connection);
    this.#deps.replay.join(connection, new Snapshot(xmin, xmax, xip), () => {
      clearTimeout(deadline);
      this.#behind.delete(connection);
      if (!this.someBehind) this.emit('caughtUp');
    });
  }

  /** The gateway says that the connection is over, or it was closed because it could not be served. */
  #forget(connection: Connection): void {
    const { directory, store } = this.#deps;
    const { connectionId, connectedAt } = connection;
    directory.forget(connection);
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
  /** Nobody is behind any more. */
  caughtUp: [];
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
}
