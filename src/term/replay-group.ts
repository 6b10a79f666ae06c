import type { Logger } from 'pino';
import { AudienceIndex } from '../connections/audience-index.ts';
import type { Connection } from '../connections/connection.ts';
import { encodeEvent } from '../framing.ts';
import type { EventLog, Page, Position } from '../listener/event-log.ts';
import type { Snapshot } from '../listener/snapshot.ts';
import { formatCursor } from '../protocol/cursor.ts';
import { readyFrame } from '../protocol/frame.ts';
import type { Fanout } from '../pusher/fanout.ts';
import { Payload } from '../pusher/payload.ts';
import { PageSending } from './page-sending.ts';

/** A page goes out to all of a group within this, or those who have not got it yet go on as a group of their own. */
const STRAGGLER_MS = 1000;

/** After so many differences read and found outdated, the feed is held for the next. */
const CHASES = 5;

/**
 * Connections that join together, and share one read of the log.
 *
 * The seam has no hole: a group reads up to the end of the feed's last window, and goes live in the same
 * turn of the event loop in which it finds that the feed has not moved on; otherwise it reads the difference.
 */
export class ReplayGroup {
  readonly #deps: ReplayGroupDeps;
  readonly #events: ReplayGroupEvents;
  readonly #members: Set<Member>;
  readonly #audience = new AudienceIndex<Member>();
  #position: Position;

  /** @param start the first window's beginning, or the middle of a window */
  constructor(deps: ReplayGroupDeps, members: Iterable<Member>, start: Position, events: ReplayGroupEvents) {
    this.#deps = deps;
    this.#events = events;
    this.#members = new Set(members);
    this.#position = start;
  }

  /**
   * Resolves when each member is live, over, or in another group.
   * @param sending the page before the start, where that is still going out to them
   */
  async run(sending?: PageSending<Member>): Promise<void> {
    if (sending) await this.#untilSent(sending);
    for (const member of this.#members) this.#audience.add(member.connection, member);
    for (let chases = 0; ; ) {
      for (const member of this.#members) if (!this.#deps.fanout.has(member.connection)) this.#leave(member);
      if (this.#members.size === 0) return;
      if (this.#position.backlog) {
        const page = await this.#deps.log.read(this.#position);
        this.#position = page.next;
        await this.#untilSent(this.#send(page));
      } else if (chases++ < CHASES) await this.#chase();
      else await this.#deps.holdFeed(() => this.#chase());
    }
  }

  /** Reads the difference to where the feed is now; where that is not outdated by then, the group goes live. */
  async #chase(): Promise<void> {
    const until = endOf(this.#deps.position());
    const page = await this.#deps.log.between(this.#position.snapshot, until);
    this.#send(page);
    this.#position = page.next;
    if (page.next.backlog) return;
    if (endOf(this.#deps.position()).text === until.text) this.#goLive(until);
    else for (const member of this.#members) member.from = until;
  }

  /** Lets a page go out before the next is read. Members that take too long for it go on without the others. */
  async #untilSent(sending: PageSending<Member>): Promise<void> {
    await sending.over(STRAGGLER_MS);
    if (sending.waiting.size === 0) return;
    const stragglers = [...sending.waiting];
    for (const member of stragglers) this.#remove(member);
    this.#events.straggling(stragglers, this.#position, sending);
  }

  #remove(member: Member): void {
    this.#members.delete(member);
    this.#audience.remove(member.connection, member);
  }

  /** The connection is over. */
  #leave(member: Member): void {
    this.#remove(member);
    this.#events.ended(member);
  }

  #send(page: Page): PageSending<Member> {
    const { fanout, installation, maxFrameBytes } = this.#deps;
    const frames = new Map<Member, Payload[]>();
    for (const event of page.events) {
      const xid = BigInt(event.xid);
      // The cursor of a replayed frame is where that replay began: a client that is cut off starts it again.
      const encoded = new Map<string, Payload>();
      for (const member of this.#audience.reach(event.audience)) {
        const { from } = member;
        if (from.sees(xid)) continue;
        const payload =
          encoded.get(from.text) ??
          new Payload(encodeEvent(event, formatCursor(from, installation), maxFrameBytes), [event.id]);
        encoded.set(from.text, payload);
        const waiting = frames.get(member);
        if (waiting) waiting.push(payload);
        else frames.set(member, [payload]);
      }
    }
    for (const payloads of frames.values()) this.#events.replayed(payloads.length);
    return new PageSending(
      new Map([...frames].map(([member, payloads]) => [member, fanout.send(member.connection, payloads)])),
    );
  }

  /** Synchronous: nothing can be dispatched between READY and being live. */
  #goLive(until: Snapshot): void {
    const { fanout, installation, floor, logger } = this.#deps;
    const cursor = formatCursor(until, installation);
    for (const member of this.#members) {
      const { connection } = member;
      // Retention may have removed rows that this replay was still to read.
      const recovered = member.complete && member.start.xmin >= floor();
      this.#events.ready(connection, recovered);
      // A lane keeps its order: once READY is delivered, the replay is. Until then it is not served.
      void fanout
        .send(connection, [new Payload(Buffer.from(readyFrame(cursor, recovered)))])
        .then(() => this.#events.ended(member));
      fanout.goLive(connection);
    }
    logger.debug({ event: 'joined', connections: this.#members.size }, 'connections are live');
    this.#members.clear();
  }
}

/** Everything visible there has been dispatched, or is being. */
export function endOf(position: Position): Snapshot {
  return position.backlog?.until ?? position.snapshot;
}

export interface Member {
  readonly connection: Connection;
  /** It has everything that this sees. */
  from: Snapshot;
  /** Where its replay began. */
  readonly start: Snapshot;
  /** That is where the client left off, and not later. */
  readonly complete: boolean;
}

export function memberAt(connection: Connection, from: Snapshot, complete: boolean): Member {
  return { connection, from, start: from, complete };
}

/** What the owner of the members hears. */
export interface ReplayGroupEvents {
  replayed(frames: number): void;
  ready(connection: Connection, recovered: boolean): void;
  /** It has its whole replay, READY included, or is over. */
  ended(member: Member): void;
  /** These go on as another group once they have got the page. */
  straggling(members: readonly Member[], position: Position, sending: PageSending<Member>): void;
}

export interface ReplayGroupDeps {
  /** On a session of its own: a long replay must not hold up the feed's reads. */
  readonly log: EventLog;
  readonly fanout: Fanout;
  /** Tag of the installation, as cursors carry it. */
  readonly installation: string;
  readonly maxFrameBytes: number;
  readonly logger: Logger;
  /** Where the feed is. */
  position(): Position;
  /** Rows of transactions below may be gone. */
  floor(): bigint;
  /** Runs while the feed does not read. */
  holdFeed<Result>(work: () => Promise<Result>): Promise<Result>;
}
