import { type Clock, pause } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { Emitter } from '../events.ts';
import { dispatchedUpTo, type Position } from '../log/event-log.ts';
import { Snapshot } from '../log/snapshot.ts';
import type { PageSending } from './page-sending.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import {
  type Member,
  type ReplayEvents,
  ReplayGroup,
  type ReplayGroupDeps,
} from './replay-group.ts';
import { ReplayTurns } from './replay-turns.ts';
import type { RoomChange } from './room-change.ts';

/**
 * Groups that read their first page of the log at a time. Most need no more; the others then take
 * turns (replay-turns.ts), so that a client that was away for long holds up nobody.
 */
const MAX_GROUPS = 4;

const SETTLED_POLL_MS = 20;

/** How long a member waits for the log to be read up to what it has, and how often it looks. */
const AHEAD_DEADLINE_MS = 60_000;
const AHEAD_POLL_MS = 50;
const NEVER = new AbortController().signal;

/**
 * How a connection joins: it gets what was committed since its cursor, or since shortly before it
 * connected, up to where the log is read; then READY; then it is live. Connections that join at
 * about the same time form a group and share one read of the log (replay-group.ts).
 */
export class Replay {
  readonly #deps: ReplayDeps;
  /** Connections that have not had their whole replay. */
  readonly #members = new Map<Member, Joining>();
  #pending: Member[] = [];
  #groups = 0;
  readonly #turns = new ReplayTurns();

  constructor(deps: ReplayDeps) {
    this.#deps = deps;
  }

  /** Resolves when nobody is joining, or the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    while (this.#members.size > 0 && !signal.aborted)
      await pause(this.#deps.clock, SETTLED_POLL_MS, signal);
  }

  /** A connection of the user has not had its whole replay. */
  isReplaying(userId: string): boolean {
    for (const { connection } of this.#members.keys())
      if (connection.userId === userId) return true;
    return false;
  }

  /** The connection's lane must be open. */
  join(joining: Joining): void {
    const { connection, from, roomChange } = joining;
    const { start, fromItsCursor } = from
      ? { start: from, fromItsCursor: true }
      : this.#beginOf(joining);
    const announced = from !== undefined;
    const member: Member = {
      ...{ connection, has: start, start, fromItsCursor, announced, roomChange },
      isReturning: from === undefined,
      sent: 0,
    };
    this.#members.set(member, joining);
    this.#deps.events.emit('joining', connection);
    if (this.#isAhead(member))
      this.#awaitReads(member).catch((error: unknown) => this.#deps.fail(error));
    else this.#queue(member);
  }

  #queue(member: Member): void {
    this.#pending.push(member);
    // Others that join in the same turn come along.
    queueMicrotask(() => this.#next());
  }

  /** The member has something that was not read yet. */
  #isAhead({ has }: Member): boolean {
    return !has.isWithin(dispatchedUpTo(this.#deps.position()));
  }

  /**
   * Waits until the log is read up to what the member has. Its cursor may be a moment old
   * (rowcast.snapshot()), or the log far behind after a takeover, and to go back would bring a row
   * again whose DELETE is known. A cursor from the future is of this database before it was
   * restored: a read that begins now does not reach it.
   */
  async #awaitReads(member: Member): Promise<void> {
    const { clock, position } = this.#deps;
    const deadline = clock.uptimeMs() + AHEAD_DEADLINE_MS;
    let isBeyond = false;
    while (this.#isAhead(member) && !isBeyond && clock.uptimeMs() < deadline) {
      // Wakes the drain loop. Between the two it has read the log.
      await this.#deps.betweenReads(async () => undefined);
      await this.#deps.betweenReads(async () => undefined);
      const { backlog, snapshot } = position();
      isBeyond = !backlog && member.start.xmax > snapshot.xmax;
      if (!isBeyond) await pause(clock, AHEAD_POLL_MS, NEVER);
    }
    if (this.#isAhead(member)) {
      member.has = member.has.meet(dispatchedUpTo(position()));
      member.start = member.has;
      member.fromItsCursor = false;
    }
    this.#queue(member);
  }

  /** Where a connection begins that has had nothing on it yet, as far as is known. */
  #beginOf({ connection, inDoubt }: Joining): Begin {
    const { history, cursors, refetchBeforeMs, position, floor } = this.#deps;
    const connectedMs = connection.connectedAt - CLOCK_MARGIN_MS;
    const { snapshot, forgotten } = history.at(connectedMs);
    if (connection.cursor === undefined) {
      // It may be READY already: its client would take rows from before it connected for new ones.
      if (inDoubt) return { start: dispatchedUpTo(position()), fromItsCursor: false };
      return { start: snapshot, fromItsCursor: !forgotten && connectedMs >= refetchBeforeMs };
    }
    const cursor = cursors.parse(connection.cursor);
    if (cursor) {
      const start = Snapshot.of(cursor);
      if (start.xmax >= floor()) return { start, fromItsCursor: true };
    }
    return { start: snapshot, fromItsCursor: false };
  }

  #next(): void {
    if (this.#groups === MAX_GROUPS || this.#pending.length === 0) return;
    const members = this.#pending;
    this.#pending = [];
    this.#groups++;
    const start = { snapshot: Snapshot.meet(members.map(({ has }) => has)) };
    let isNear = true;
    const leave = () => {
      if (!isNear) return;
      isNear = false;
      this.#groups--;
      this.#next();
    };
    void this.#run(members, start, leave).finally(leave);
  }

  /** @param far is called when the group goes beyond its first page */
  #run(
    members: readonly Member[],
    start: Position,
    far: () => void,
    sending?: PageSending<Member>,
  ): Promise<void> {
    const group = new ReplayGroup(this.#deps, members, start, {
      turn: (userIds) => {
        far();
        return this.#turns.take(userIds);
      },
      tooMuch: (member) => this.#beginAnew(member),
      delivered: (member, upTo) => {
        const joining = this.#members.get(member);
        this.#members.delete(member);
        joining?.ready(upTo);
      },
      ended: (member) => this.#members.delete(member),
      // It is not counted among the groups, because it waits most of its time.
      straggling: (stragglers, position, page) =>
        void this.#run(stragglers, position, () => undefined, page),
    });
    return group.run(sending).catch((error: unknown) => this.#deps.fail(error));
  }

  /** From where the log is read now: READY says that something is missing. */
  #beginAnew(member: Member): void {
    const now = dispatchedUpTo(this.#deps.position());
    const anew = { has: now, start: now, fromItsCursor: false, roomChange: null, sent: 0 };
    Object.assign(member, anew);
    this.#queue(member);
  }
}

/** A connection that is to be replayed to. */
export interface Joining {
  readonly connection: Connection;
  /** It has everything that this sees; undefined for one that has had nothing yet. */
  readonly from: Snapshot | undefined;
  /** It is live but for rooms that it has joined. */
  readonly roomChange: RoomChange | null;
  /** The leader before may have served it without naming it. */
  readonly inDoubt: boolean;
  /** READY was delivered, and everything up to there; or the connection was closed meanwhile. */
  ready(upTo: Snapshot): void;
}

interface Begin {
  readonly start: Snapshot;
  readonly fromItsCursor: boolean;
}

export interface ReplayDeps extends ReplayGroupDeps {
  readonly history: PositionHistory;
  readonly events: Emitter<ReplayEvents>;
  /** Connections made before have missed something, epoch ms. */
  readonly refetchBeforeMs: number;
  readonly clock: Clock;
  fail(error: unknown): void;
}
