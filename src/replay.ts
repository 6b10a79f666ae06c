import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { pause } from './backoff.ts';
import { AudienceIndex } from './connections/audience-index.ts';
import type { Connection } from './connections/connection.ts';
import { encodeEvent } from './framing.ts';
import type { EventLog, Page, Position } from './listener/event-log.ts';
import { Snapshot } from './listener/snapshot.ts';
import type { PositionHistory } from './position-history.ts';
import { formatCursor, parseCursor } from './protocol/cursor.ts';
import { readyFrame } from './protocol/frame.ts';
import type { Fanout } from './pusher/fanout.ts';
import { Payload } from './pusher/payload.ts';

/** Groups that read the log at the same time: a client that was away for long must not hold up the others. */
const MAX_GROUPS = 4;

/** A page goes out to all of a group within this, or whoever has not got it yet goes on alone. */
const STRAGGLER_MS = 1000;
const NEVER = new AbortController().signal;

const SETTLED_POLL_MS = 20;

/** After so many differences read and found outdated, the feed is held for the next. */
const CHASES = 5;

/** Clocks of API Gateway and of the relay may differ by this much, and a replay begins this much early. */
export const CLOCK_MARGIN_MS = 2000;

/**
 * How a connection joins: it gets what was committed since its cursor (or since shortly before it connected), up
 * to where the feed is; then READY; then it is live. Connections that join at about the same time form a group and
 * share one read of the log.
 *
 * The seam has no hole: a group reads up to the end of the feed's last window, and goes live in the same
 * turn of the event loop in which it finds that the feed has not moved on; otherwise it reads the difference.
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
    const { history, installation, position, floor, xmax } = this.#deps;
    const connectedFrom = history.at(connection.connectedAt - CLOCK_MARGIN_MS);
    if (connection.cursor === undefined) return memberAt(connection, connectedFrom, true);
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
    const group = this.#pending;
    this.#pending = [];
    this.#groups++;
    this.#run(group, { snapshot: Snapshot.intersection(group.map(({ from }) => from)) }, () => {
      this.#groups--;
      this.#next();
    });
  }

  #run(group: Member[], start: Position, ended: () => void): void {
    this.#replayTo(group, start)
      .catch((error: unknown) => this.#deps.fail(error))
      .finally(ended);
  }

  /** @param start the first window's beginning, or the middle of a window */
  async #replayTo(group: Member[], start: Position): Promise<void> {
    const audience = new AudienceIndex<Member>();
    for (const member of group) audience.add(member.connection, member);
    let position = start;
    for (let chases = 0; ; ) {
      for (const member of group.filter(({ connection }) => !this.#deps.fanout.has(connection)))
        this.#leave(member, group, audience);
      if (group.length === 0) return;
      if (position.backlog) {
        const page = await this.#deps.log.read(position);
        position = page.next;
        await this.#untilSent(group, this.#send(page, audience), audience, position);
      } else if (chases++ < CHASES) position = await this.#chase(group, audience, position.snapshot);
      else {
        const start = position.snapshot;
        position = await this.#deps.holdFeed(() => this.#chase(group, audience, start));
      }
    }
  }

  /** Reads the difference to where the feed is now; where that is not outdated by then, the group goes live. */
  async #chase(group: Member[], audience: AudienceIndex<Member>, start: Snapshot): Promise<Position> {
    const until = endOf(this.#deps.position());
    const page = await this.#deps.log.between(start, until);
    this.#send(page, audience);
    if (page.next.backlog) return page.next;
    if (endOf(this.#deps.position()).text === until.text) this.#goLive(group.splice(0), until);
    else for (const member of group) member.from = until;
    return page.next;
  }

  /** Lets a page go out before the next is read. Members that take too long for it go on alone. */
  async #untilSent(
    group: Member[],
    sent: Map<Member, Promise<void>>,
    audience: AudienceIndex<Member>,
    position: Position,
  ): Promise<void> {
    const waiting = new Set(sent.keys());
    for (const [member, settled] of sent) void settled.then(() => waiting.delete(member));
    await Promise.race([Promise.all(sent.values()), pause(STRAGGLER_MS, NEVER)]);
    for (const straggler of waiting) {
      group.splice(group.indexOf(straggler), 1);
      audience.remove(straggler.connection, straggler);
      void sent.get(straggler)?.then(() => this.#run([straggler], position, () => undefined));
    }
  }

  /** The connection is over. */
  #leave(member: Member, group: Member[], audience: AudienceIndex<Member>): void {
    group.splice(group.indexOf(member), 1);
    audience.remove(member.connection, member);
    this.#end(member);
  }

  #end(member: Member): void {
    const ended = this.#members.get(member);
    this.#members.delete(member);
    ended?.();
  }

  #send(page: Page, audience: AudienceIndex<Member>): Map<Member, Promise<void>> {
    const { fanout, installation, maxFrameBytes } = this.#deps;
    const frames = new Map<Member, Payload[]>();
    for (const event of page.events) {
      const xid = BigInt(event.xid);
      // The cursor of a replayed frame is where that replay began: a client that is cut off starts it again.
      const encoded = new Map<Snapshot, Payload>();
      for (const member of audience.reach(event.audience)) {
        if (member.from.sees(xid)) continue;
        const payload =
          encoded.get(member.from) ??
          new Payload(encodeEvent(event, formatCursor(member.from, installation), maxFrameBytes), [event.id]);
        encoded.set(member.from, payload);
        const waiting = frames.get(member);
        if (waiting) waiting.push(payload);
        else frames.set(member, [payload]);
      }
    }
    for (const payloads of frames.values()) this.emit('replayed', payloads.length);
    return new Map([...frames].map(([member, payloads]) => [member, fanout.send(member.connection, payloads)]));
  }

  /** Synchronous: nothing can be dispatched between READY and being live. */
  #goLive(group: readonly Member[], until: Snapshot): void {
    const { fanout, installation, floor, logger } = this.#deps;
    const cursor = formatCursor(until, installation);
    for (const member of group) {
      // Retention may have removed rows that this replay was still to read.
      const recovered = member.complete && member.start.xmin >= floor();
      this.emit('ready', member.connection, recovered);
      // A lane keeps its order: once READY is delivered, the replay is. Until then it is not served.
      void fanout
        .send(member.connection, [new Payload(Buffer.from(readyFrame(cursor, recovered)))])
        .then(() => this.#end(member));
      fanout.goLive(member.connection);
    }
    logger.debug({ event: 'joined', connections: group.length }, 'connections are live');
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

/** Everything visible there has been dispatched, or is being. */
function endOf(position: Position): Snapshot {
  return position.backlog?.until ?? position.snapshot;
}

interface Member {
  readonly connection: Connection;
  /** It has everything that this sees. */
  from: Snapshot;
  /** Where its replay began. */
  readonly start: Snapshot;
  /** That is where the client left off, and not later. */
  readonly complete: boolean;
}

function memberAt(connection: Connection, from: Snapshot, complete: boolean): Member {
  return { connection, from, start: from, complete };
}

export interface ReplayDeps {
  /** On a session of its own: a long replay must not hold up the feed's reads. */
  readonly log: EventLog;
  readonly fanout: Fanout;
  readonly history: PositionHistory;
  /** Tag of the installation, as cursors carry it. */
  readonly installation: string;
  /** No transaction from here on had begun when the term did. */
  readonly xmax: bigint;
  readonly maxFrameBytes: number;
  readonly logger: Logger;
  /** Where the feed is. */
  position(): Position;
  /** Rows of transactions below may be gone. */
  floor(): bigint;
  /** Runs while the feed does not read. */
  holdFeed<Result>(work: () => Promise<Result>): Promise<Result>;
  fail(error: unknown): void;
}
