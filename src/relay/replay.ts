import { EventEmitter } from 'node:events';
import { pause } from '../backoff.ts';
import type { Connection } from '../connections/connection.ts';
import { endOf, type Position } from '../log/event-log.ts';
import { Snapshot } from '../log/snapshot.ts';
import { parseCursor } from '../protocol/cursor.ts';
import type { PageSending } from './page-sending.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import { type Member, ReplayGroup, type ReplayGroupDeps } from './replay-group.ts';

/** Groups that read the log at the same time: a client that was away for long must not hold up the others. */
const MAX_GROUPS = 4;

const SETTLED_POLL_MS = 20;

/** How long a member waits for a feed that is behind what it has, and how often it is asked. */
const AHEAD_DEADLINE_MS = 60_000;
const AHEAD_POLL_MS = 50;
const NEVER = new AbortController().signal;

/**
 * How a connection joins: it gets what was committed since its cursor (or since shortly before it connected), up
 * to where the feed is; then READY; then it is live. Connections that join at about the same time form a group and
 * share one read of the log (replay-group.ts).
 */
export class Replay extends EventEmitter<ReplayEvents> {
  readonly #deps: ReplayDeps;
  /** Who has not had the whole replay yet. */
  readonly #members = new Map<Member, Joining>();
  #pending: Member[] = [];
  #groups = 0;

  constructor(deps: ReplayDeps) {
    super();
    this.#deps = deps;
  }

  /** Resolves when nobody is joining, or the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    while (this.#members.size > 0 && !signal.aborted) await pause(SETTLED_POLL_MS, signal);
  }

  /** The connection's lane must be open. */
  join(joining: Joining): void {
    const { connection, from } = joining;
    const begin = from ? { start: from, complete: true } : this.#beginOf(joining);
    const member: Member = {
      connection,
      from: begin.start,
      ...begin,
      announced: from !== undefined,
    };
    this.#members.set(member, joining);
    this.emit('joining', connection);
    if (member.from.isWithin(endOf(this.#deps.position()))) this.#queue(member);
    else this.#awaitFeed(member).catch((error: unknown) => this.#deps.fail(error));
  }

  #queue(member: Member): void {
    this.#pending.push(member);
    // Others that joined in the same turn come along.
    queueMicrotask(() => this.#next());
  }

  /**
   * After a takeover the feed may be behind what the member has. To go back with it would be to hear of a row again whose DELETE is
   * known: it waits. A cursor that somebody made up may see what nobody ever will.
   */
  async #awaitFeed(member: Member): Promise<void> {
    const deadline = performance.now() + AHEAD_DEADLINE_MS;
    const isAhead = () => !member.from.isWithin(endOf(this.#deps.position()));
    while (isAhead() && performance.now() < deadline) {
      // Wakes the feed, and lets it read.
      await this.#deps.holdFeed(async () => undefined);
      await pause(AHEAD_POLL_MS, NEVER);
    }
    if (isAhead()) {
      member.from = member.from.meet(endOf(this.#deps.position()));
      member.start = member.from;
      member.complete = false;
    }
    this.#queue(member);
  }

  /** Where a connection begins that has had nothing yet, as far as is known. */
  #beginOf({ connection, mayHaveBeenServed }: Joining): { start: Snapshot; complete: boolean } {
    const { history, installation, adoptedAtMs, position, floor, xmax } = this.#deps;
    const connectedMs = connection.connectedAt - CLOCK_MARGIN_MS;
    const { snapshot, forgotten } = history.at(connectedMs);
    if (connection.cursor === undefined) {
      // Were it READY already, what was before it connected must not come now: its client would take it for new.
      if (mayHaveBeenServed) return { start: endOf(position()), complete: false };
      return { start: snapshot, complete: !forgotten && connectedMs >= adoptedAtMs };
    }
    const cursor = parseCursor(connection.cursor);
    if (cursor?.installation === installation) {
      const start = Snapshot.of(cursor.snapshot);
      // A cursor from the future is one of this database before it was restored.
      const past = start.xmax <= xmax || start.xmax <= endOf(position()).xmax;
      if (past && start.xmax >= floor()) return { start, complete: true };
    }
    return { start: snapshot, complete: false };
  }

  #next(): void {
    if (this.#groups === MAX_GROUPS || this.#pending.length === 0) return;
    const members = this.#pending;
    this.#pending = [];
    this.#groups++;
    void this.#run(members, { snapshot: Snapshot.meet(members.map(({ from }) => from)) }).finally(
      () => {
        this.#groups--;
        this.#next();
      },
    );
  }

  #run(members: readonly Member[], start: Position, sending?: PageSending<Member>): Promise<void> {
    const group = new ReplayGroup(this.#deps, members, start, {
      replayed: (frames) => this.emit('replayed', frames),
      ready: (connection, recovered) => this.emit('ready', connection, recovered),
      delivered: (member, until) => {
        const joining = this.#members.get(member);
        this.#members.delete(member);
        joining?.ready(until);
      },
      ended: (member) => this.#members.delete(member),
      // Not one of the groups that are counted: most of its time it waits.
      straggling: (stragglers, position, page) => void this.#run(stragglers, position, page),
    });
    return group.run(sending).catch((error: unknown) => this.#deps.fail(error));
  }
}

/** A connection that is to be replayed to. */
export interface Joining {
  readonly connection: Connection;
  /** It has everything that this sees; undefined for one that has had nothing yet. */
  readonly from: Snapshot | undefined;
  /** The leader before may have served it, and has not said so. */
  readonly mayHaveBeenServed: boolean;
  /** READY was delivered, and everything up to `until`; or the connection was closed meanwhile. */
  ready(until: Snapshot): void;
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
