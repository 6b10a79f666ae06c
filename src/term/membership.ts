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
   * What connections lack of what was settled for them: those that fell behind, those that were changed, and those whose sockets are
   * being closed. The cursor does not pass the earliest: a relay that takes over knows nothing else of what they lack.
   */
  readonly #holds = new Set<Hold>();
  readonly #deadlines = new Set<NodeJS.Timeout>();
  readonly #changed = (before: Connection, connection: Connection) => this.#change(before, connection);
  readonly #joined = (connection: Connection) => this.#join(connection);
  readonly #left = (connection: Connection) => this.#leave(connection);
  readonly #overdue = (connection: Connection) => void this.#deps.fanout.disconnect(connection);

  constructor(deps: MembershipDeps) {
    super();
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
  }

  /** Connections that lack something. */
  get lacking(): number {
    return this.#holds.size;
  }

  /** Who lacks most has everything up to here; undefined while nobody lacks anything. */
  get heldAt(): Snapshot | undefined {
    return earliest(this.#holds);
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
    directory
      .on('joined', this.#joined)
      .on('left', this.#left)
      .on('overdue', this.#overdue)
      .on('changed', this.#changed);
    fanout
      .on('unservable', (connection, from) => {
        this.#hold(connection, from ? new Snapshot(from.xmin, from.xmax, from.xip) : this.#deps.committed());
      })
      .on('behind', (connection, from, replaying) => this.#behind(connection, from, replaying))
      .on('ended', (connection) => this.#forget(connection));
  }

  stop(): void {
    for (const deadline of this.#deadlines) clearTimeout(deadline);
    this.#deps.directory
      .off('joined', this.#joined)
      .off('left', this.#left)
      .off('overdue', this.#overdue)
      .off('changed', this.#changed);
  }

  /** Up to when every connection has had its replay, those apart that the cursor waits for; and where in the log that was. */
  served(): Served {
    const { directory, replay, history, served } = this.#deps;
    let untilMs = directory.asOf - LATE_ITEM_MS;
    const held = new Set(Array.from(this.#holds, ({ connection }) => connection));
    for (const connection of replay.joining())
      if (!held.has(connection)) untilMs = Math.min(untilMs, connection.connectedAt);
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
    this.#releaseAll(connection);
  }

  /** It goes on as what it is now, from where it was. */
  #change(before: Connection, connection: Connection): void {
    const { fanout, replay, committed } = this.#deps;
    // Its socket is being closed.
    if (!fanout.has(before)) return;
    const held = [...this.#holds].filter((hold) => hold.connection === before);
    const joining = held.length === 0 && [...replay.joining()].includes(before);
    const hold = joining ? null : this.#hold(connection, earliest(held) ?? committed());
    for (const former of held) this.#holds.delete(former);
    fanout.close(before);
    if (hold) {
      fanout.open(connection);
      this.#catchUp(hold, hold.from);
    } else this.#join(connection);
  }

  #behind(connection: Connection, { xmin, xmax, xip }: CursorSnapshot, replaying: boolean): void {
    const from = new Snapshot(xmin, xmax, xip);
    this.#catchUp(this.#hold(connection, replaying ? this.#deps.committed() : from), from);
  }

  /** It goes on from the log. */
  #catchUp(hold: Hold, from: Snapshot): void {
    const { fanout, replay } = this.#deps;
    const { connection } = hold;
    const deadline = setTimeout(() => {
      if (fanout.has(connection)) void fanout.disconnect(connection);
    }, BEHIND_DEADLINE_MS);
    this.#deadlines.add(deadline);
    replay.join(connection, from, () => {
      clearTimeout(deadline);
      this.#deadlines.delete(deadline);
      // One that is being closed still lacks what it lacked.
      if (!fanout.has(connection)) return;
      this.#holds.delete(hold);
      this.emit('released');
    });
  }

  #hold(connection: Connection, from: Snapshot): Hold {
    const hold = { connection, from };
    this.#holds.add(hold);
    return hold;
  }

  /** The connection is over. */
  #releaseAll({ connectionId, connectedAt }: Connection): void {
    const before = this.#holds.size;
    for (const hold of this.#holds)
      if (hold.connection.connectionId === connectionId && hold.connection.connectedAt === connectedAt)
        this.#holds.delete(hold);
    if (this.#holds.size < before) this.emit('released');
  }

  /** The gateway says that the connection is over, or it was closed because it could not be served. */
  #forget(connection: Connection): void {
    const { directory, store } = this.#deps;
    const { connectionId, connectedAt } = connection;
    directory.forget(connection);
    this.#releaseAll(connection);
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

/** One connection may have several: it may fall behind again before it has caught up. */
interface Hold {
  readonly connection: Connection;
  /** It has everything that this sees. */
  readonly from: Snapshot;
}

function earliest(holds: Iterable<Hold>): Snapshot | undefined {
  let found: Snapshot | undefined;
  for (const { from } of holds) if (!found || from.isBefore(found)) found = from;
  return found;
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
