import { EventEmitter } from 'node:events';
import { pause } from '../backoff.ts';
import type { Connection } from '../connections/connection.ts';
import type { Position } from '../listener/event-log.ts';
import { Snapshot } from '../listener/snapshot.ts';
import { parseCursor } from '../protocol/cursor.ts';
import type { PageSending } from './page-sending.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import { endOf, type Member, memberAt, ReplayGroup, type ReplayGroupDeps } from './replay-group.ts';

/** Groups that read the log at the same time: a client that was away for long must not hold up the others. */
const MAX_GROUPS = 4;

const SETTLED_POLL_MS = 20;

/**
 * How a connection joins: it gets what was committed since its cursor (or since shortly before it connected), up
 * to where the feed is; then READY; then it is live. Connections that join at about the same time form a group and
 * share one read of the log (replay-group.ts).
 */
export class Replay extends EventEmitter<ReplayEvents> {
  readonly #deps: ReplayDeps;
  /** Who has not had the whole replay yet, and whom to tell. */
  readonly #members = new Map<Member, (() => void) | undefined>();
  #pending: Member[] = [];
  #groups = 0;

  constructor(deps: ReplayDeps) {
    super();
    this.#deps = deps;
  }

  /** Connections whose replay, READY included, has not been delivered. */
  *joining(): Iterable<Connection> {
    for (const { connection } of this.#members.keys()) yield connection;
  }

  /** Resolves when nobody is joining, or the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    while (this.#members.size > 0 && !signal.aborted) await pause(SETTLED_POLL_MS, signal);
  }

  /**
   * The connection's lane must be open.
   * @param from where a connection goes on that was live and has fallen behind
   * @param ended is called once it has its replay, or is over
   */
  join(connection: Connection, from?: Snapshot, ended?: () => void): void {
    const member = from ? memberAt(connection, from, true) : this.#memberOf(connection);
    this.#members.set(member, ended);
    this.#pending.push(member);
    this.emit('joining', connection);
    // Others that joined in the same turn come along.
    queueMicrotask(() => this.#next());
  }

  #memberOf(connection: Connection): Member {
    const { history, installation, adoptedAtMs, position, floor, xmax } = this.#deps;
    const { connectedAt } = connection;
    const connectedFrom = history.at(connectedAt - CLOCK_MARGIN_MS);
    if (connection.cursor === undefined)
      return memberAt(connection, connectedFrom, connectedAt - CLOCK_MARGIN_MS >= adoptedAtMs);
    const cursor = parseCursor(connection.cursor);
    if (cursor?.installation === installation) {
      const { xmin, xmax: end, xip } = cursor.snapshot;
      // A cursor from the future is one of this database before it was restored.
      const past = end <= xmax || end <= endOf(position()).xmax;
      if (past && xmin >= floor()) return memberAt(connection, new Snapshot(xmin, end, xip), true);
    }
    return memberAt(connection, connectedFrom, false);
  }

  #next(): void {
    if (this.#groups === MAX_GROUPS || this.#pending.length === 0) return;
    const members = this.#pending;
    this.#pending = [];
    this.#groups++;
    void this.#run(members, { snapshot: Snapshot.intersection(members.map(({ from }) => from)) }).finally(() => {
      this.#groups--;
      this.#next();
    });
  }

  #run(members: readonly Member[], start: Position, sending?: PageSending<Member>): Promise<void> {
    const group = new ReplayGroup(this.#deps, members, start, {
      replayed: (frames) => this.emit('replayed', frames),
      ready: (connection, recovered) => this.emit('ready', connection, recovered),
      ended: (member) => this.#end(member),
      // Not one of the groups that are counted: most of its time it waits.
      straggling: (stragglers, position, page) => void this.#run(stragglers, position, page),
    });
    return group.run(sending).catch((error: unknown) => this.#deps.fail(error));
  }

  #end(member: Member): void {
    const ended = this.#members.get(member);
    this.#members.delete(member);
    ended?.();
  }
}

export interface ReplayEvents {
  /** A connection that is new, or has fallen behind, waits for its replay. */
  joining: [Connection];
  /** Frames of a replay were given to a connection's lane. */
  replayed: [frames: number];
  /** READY was given to a connection's lane; from here on it is live. */
  ready: [Connection, recovered: boolean];
}

export interface ReplayDeps extends ReplayGroupDeps {
  readonly history: PositionHistory;
  /** No transaction from here on had begun when the term did. */
  readonly xmax: bigint;
  /** Connections made before have missed something. */
  readonly adoptedAtMs: number;
  fail(error: unknown): void;
}
