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

/** Groups that read the log at the same time: a client that was away for long must not hold up the others. */
const MAX_GROUPS = 4;

/** A page goes out to all of a group within this, or whoever has not got it yet leaves the group. */
const STRAGGLER_MS = 1000;
const NEVER = new AbortController().signal;

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
export class Replay {
  readonly #deps: ReplayDeps;
  readonly #members = new Set<Member>();
  #pending: Member[] = [];
  #groups = 0;

  constructor(deps: ReplayDeps) {
    this.#deps = deps;
  }

  /** Connections that have not had their replay yet. */
  *joining(): Iterable<Connection> {
    for (const { connection } of this.#members) yield connection;
  }

  /** The connection's lane must be open. */
  join(connection: Connection): void {
    const member = this.#memberOf(connection);
    this.#members.add(member);
    this.#pending.push(member);
    // Others that joined in the same turn come along.
    queueMicrotask(() => this.#next());
  }

  #memberOf(connection: Connection): Member {
    const { history, installation, position, floor } = this.#deps;
    const cursor = connection.cursor === undefined ? undefined : parseCursor(connection.cursor);
    // A cursor from the future is one of this database before it was restored.
    const known = cursor?.installation === installation && cursor.xmin <= BigInt(endOf(position()).xmax);
    if (cursor && known && cursor.xmin >= floor()) return { connection, resumesFrom: cursor.xmin, from: cursor.xmin };
    const from = history.xminAt(connection.connectedAt - CLOCK_MARGIN_MS);
    return { connection, resumesFrom: connection.cursor === undefined ? from : null, from };
  }

  #next(): void {
    if (this.#groups === MAX_GROUPS || this.#pending.length === 0) return;
    const group = this.#pending;
    this.#pending = [];
    this.#groups++;
    const least = group.reduce((xid, { from }) => (from < xid ? from : xid), group[0]?.from ?? 0n);
    this.#run(group, { snapshot: Snapshot.before(least) }, () => {
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
    for (;;) {
      const until = position.backlog?.until ?? endOf(this.#deps.position());
      const page = position.backlog
        ? await this.#deps.log.read(position)
        : await this.#deps.log.between(position.snapshot, until);
      const sent = this.#send(page, audience);
      position = page.next;
      if (position.backlog) {
        await this.#untilSent(group, sent, audience, position);
        if (group.length === 0) return;
      } else if (endOf(this.#deps.position()).text === until.text) return this.#goLive(group, until);
      // All before is sent: what is read next, a client that is cut off need not have again from further back.
      else for (const member of group) if (member.from < until.xmin) member.from = until.xmin;
    }
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
    if (group.length === 1) return void (await sent.get(group[0] as Member));
    for (const straggler of waiting) {
      group.splice(group.indexOf(straggler), 1);
      audience.remove(straggler.connection, straggler);
      void sent.get(straggler)?.then(() => this.#run([straggler], position, () => undefined));
    }
  }

  #send(page: Page, audience: AudienceIndex<Member>): Map<Member, Promise<void>> {
    const { fanout, installation, maxFrameBytes } = this.#deps;
    const frames = new Map<Member, Buffer[]>();
    for (const event of page.events) {
      const xid = BigInt(event.xid);
      // The cursor of a replayed frame is where that replay began: a client that is cut off starts it again.
      const encoded = new Map<bigint, Buffer>();
      for (const member of audience.reach(event.audience)) {
        if (xid < member.from) continue;
        const cursor = formatCursor({ xmin: member.from, installation });
        const payload = encoded.get(member.from) ?? encodeEvent(event, cursor, maxFrameBytes);
        encoded.set(member.from, payload);
        const waiting = frames.get(member);
        if (waiting) waiting.push(payload);
        else frames.set(member, [payload]);
      }
    }
    return new Map([...frames].map(([member, payloads]) => [member, fanout.send(member.connection, payloads)]));
  }

  /** Synchronous: nothing can be dispatched between READY and being live. */
  #goLive(group: readonly Member[], until: Snapshot): void {
    const { fanout, installation, floor, logger } = this.#deps;
    const cursor = formatCursor({ xmin: until.xmin, installation });
    for (const member of group) {
      // Retention may have removed rows that this replay was still to read.
      const recovered = member.resumesFrom !== null && member.resumesFrom >= floor();
      void fanout.send(member.connection, [Buffer.from(readyFrame(cursor, recovered))]);
      fanout.goLive(member.connection);
      this.#members.delete(member);
    }
    logger.debug({ event: 'joined', connections: group.length }, 'connections are live');
  }
}

/** Everything visible there has been dispatched, or is being. */
function endOf(position: Position): Snapshot {
  return position.backlog?.until ?? position.snapshot;
}

interface Member {
  readonly connection: Connection;
  /** Where its replay begins; null where that is later than where the client left off. */
  readonly resumesFrom: bigint | null;
  /** It has everything of the transactions below. */
  from: bigint;
}

export interface ReplayDeps {
  /** On a session of its own: a long replay must not hold up the feed's reads. */
  readonly log: EventLog;
  readonly fanout: Fanout;
  readonly history: PositionHistory;
  /** Tag of the installation, as cursors carry it. */
  readonly installation: string;
  readonly maxFrameBytes: number;
  readonly logger: Logger;
  /** Where the feed is. */
  position(): Position;
  /** Rows of transactions below may be gone. */
  floor(): bigint;
  fail(error: unknown): void;
}
