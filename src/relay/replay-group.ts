import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import type { Judgement } from '../connections/rooms.ts';
import type { Emitter } from '../events.ts';
import type { Disconnect } from '../log/disconnected.ts';
import { encodeEvent } from '../log/event-encoding.ts';
import { dispatchedUpTo, type EventLog, type Page, type Position } from '../log/event-log.ts';
import { isMembershipChange } from '../log/memberships.ts';
import type { Snapshot } from '../log/snapshot.ts';
import { disconnectFrame, readyFrame, roomsFrame } from '../protocol/frame.ts';
import type { Fanout } from '../pusher/fanout.ts';
import { Payload } from '../pusher/payload.ts';
import type { CursorTokens } from './cursor-tokens.ts';
import { closes, isDisconnect } from './disconnect.ts';
import type { Membership } from './membership.ts';
import { PageSending } from './page-sending.ts';
import { ReplayAudience } from './replay-audience.ts';
import { hadBefore, type RoomChange } from './room-change.ts';

/** Members that have not got a page after this go on as a group of their own. */
const STRAGGLER_MS = 1000;

/** After so many differences that were outdated once read, the drain loop waits for the next. */
const CHASES = 5;

/**
 * Connections that join together, and share one read of the log:
 *
 *     backlog, page by page ─▶ the difference to where the log is read ─▶ announced ─▶ what came meanwhile ─▶ READY, live
 *
 * The seam has no hole: a group reads up to the end of the window that was read last, and goes live
 * in the same turn of the event loop in which it finds that nothing was read since. Otherwise it
 * reads the difference.
 */
export class ReplayGroup {
  readonly #deps: ReplayGroupDeps;
  readonly #owner: ReplayGroupOwner;
  readonly #members: Set<Member>;
  readonly #audience: ReplayAudience<Member>;
  #position: Position;
  /** Nobody is left whom a call of rowcast.disconnect() meant that the group has not read. */
  #hasDismissed = false;

  /** @param start the first window's beginning, or the middle of a window */
  constructor(
    deps: ReplayGroupDeps,
    members: Iterable<Member>,
    start: Position,
    owner: ReplayGroupOwner,
  ) {
    this.#deps = deps;
    this.#owner = owner;
    this.#members = new Set(members);
    this.#audience = new ReplayAudience(deps.membership);
    this.#position = start;
  }

  /**
   * Resolves when each member is live, over, or in another group.
   * @param sending the page before the start, where members still wait for it
   */
  async run(sending?: PageSending<Member>): Promise<void> {
    if (sending) await this.#untilSent(sending);
    for (const member of this.#members) this.#audience.add(member);
    await this.#deps.membership.load(this.#userIds());
    await this.#dismissDisconnected(dispatchedUpTo(this.#deps.position()), false);
    for (let chases = 0; ; ) {
      for (const member of this.#members)
        if (!this.#deps.fanout.has(member.connection)) this.#leave(member);
      if (this.#members.size === 0) return;
      if (this.#position.backlog) await this.#readOn();
      else if (!this.#announced()) await this.#announce();
      else if (!this.#hasDismissed) await this.#dismissDisconnected(this.#position.snapshot, true);
      else if (chases++ < CHASES) await this.#chase();
      else await this.#deps.betweenReads(() => this.#chase());
    }
  }

  #userIds(): string[] {
    return Array.from(this.#members, ({ connection }) => connection.userId);
  }

  /** Reads and sends one more page, when it is this group's turn. */
  async #readOn(): Promise<void> {
    const end = await this.#owner.turn(this.#userIds());
    try {
      const page = await this.#deps.log.read(this.#position, this.#audience.terms());
      this.#position = page.next;
      await this.#untilSent(this.#send(page));
    } finally {
      end();
    }
  }

  #announced(): boolean {
    for (const { announced } of this.#members) if (!announced) return false;
    return true;
  }

  /** Commits that they have everything up to where the log is read. Only then comes READY. */
  async #announce(): Promise<void> {
    const { sending, until } = await this.#readDifference();
    await this.#untilSent(sending);
    if (this.#position.backlog) return;
    // After the last page was read: rows that were missing in it are below this floor.
    await this.#deps.readFloor();
    const whole = [...this.#members].filter((member) => this.#isWhole(member));
    if (whole.length > 0)
      await this.#deps.announce(
        whole.map(({ connection }) => connection),
        until,
      );
    for (const member of this.#members) {
      member.has = until;
      member.announced = true;
    }
  }

  /**
   * Calls that a replay does not come across: before its beginning, or removed from the log. Where
   * retention removes one in its midst, the last look finds it.
   * @param isLast the group has read all of the log
   */
  async #dismissDisconnected(until: Snapshot, isLast: boolean): Promise<void> {
    const sinceMs = Math.min(...Array.from(this.#members, (each) => each.connection.connectedAt));
    for (const call of await this.#deps.disconnected(until, sinceMs)) {
      const isSkipped = ({ has }: Member) => isLast || call.isGone || has.sees(BigInt(call.xid));
      const hadIt = ({ roomChange }: Member) => hadBefore(roomChange, BigInt(call.xid), []);
      const payload = new Payload(Buffer.from(disconnectFrame(call.data)), [call.id]);
      for (const member of [...this.#audience.reach(call)])
        if (closes(call, member.connection) && isSkipped(member) && !hadIt(member))
          this.#dismiss(member, this.#deps.fanout.send(member.connection, [payload]));
    }
    this.#hasDismissed = isLast;
  }

  /** Reads the difference to where the log is read now. Goes live unless it is outdated by then. */
  async #chase(): Promise<void> {
    const { until } = await this.#readDifference();
    if (this.#position.backlog) return;
    // Where they have left a room, what was for them before that is still to be left out.
    const isRead = this.#audience.isRead();
    if (isRead && dispatchedUpTo(this.#deps.position()).text === until.text) this.#goLive(until);
    else for (const member of this.#members) member.has = until;
  }

  async #readDifference(): Promise<{ sending: PageSending<Member>; until: Snapshot }> {
    const until = dispatchedUpTo(this.#deps.position());
    if (this.#deps.isQuietSince(this.#position.snapshot)) {
      this.#position = { snapshot: until };
      return { sending: new PageSending(new Map()), until };
    }
    const terms = this.#audience.terms();
    const page = await this.#deps.log.between(this.#position.snapshot, until, terms);
    this.#position = page.next;
    return { sending: this.#send(page), until };
  }

  /** Lets a page go out before the next is read. Members that take too long go on by themselves. */
  async #untilSent(sending: PageSending<Member>): Promise<void> {
    await sending.settledWithin(this.#deps.clock, STRAGGLER_MS);
    if (sending.unsent.size === 0) return;
    const stragglers = [...sending.unsent];
    for (const member of stragglers) this.#remove(member);
    this.#owner.straggling(stragglers, this.#position, sending);
  }

  #remove(member: Member): void {
    this.#members.delete(member);
    this.#audience.remove(member);
  }

  /** The connection is over. */
  #leave(member: Member): void {
    this.#remove(member);
    this.#owner.ended(member);
  }

  #send(page: Page): PageSending<Member> {
    const { fanout, maxFrameBytes } = this.#deps;
    const frames = new Map<Member, Payload[]>();
    const leaving = new Set<Member>();
    // Nothing that a cursor is made of changes while a page is sent.
    const cursors = new Map(
      Array.from(this.#members, (member) => [member, this.#cursorOf(member)]),
    );
    for (const event of page.events) {
      if (isMembershipChange(event)) continue;
      const xid = BigInt(event.xid);
      const isLast = isDisconnect(event);
      const encoded = new Map<string, Payload>();
      for (const member of this.#audience.reach(event)) {
        if (member.has.sees(xid) || leaving.has(member)) continue;
        if (hadBefore(member.roomChange, xid, isLast ? [] : event.audience)) continue;
        if (isLast) {
          if (!closes(event, member.connection)) continue;
          leaving.add(member);
        }
        const cursor = cursors.get(member) as string;
        const payload =
          encoded.get(cursor) ?? new Payload(encodeEvent(event, cursor, maxFrameBytes), [event.id]);
        encoded.set(cursor, payload);
        const waiting = frames.get(member);
        if (waiting) waiting.push(payload);
        else frames.set(member, [payload]);
      }
    }
    const sent = new Map<Member, Promise<void>>();
    for (const [member, payloads] of frames) {
      this.#deps.events.emit('replayed', payloads.length);
      const delivered = fanout.send(member.connection, payloads);
      member.sent += payloads.length;
      if (leaving.has(member)) this.#dismiss(member, delivered);
      else if (member.sent <= this.#deps.maxEvents) sent.set(member, delivered);
      else this.#giveUp(member);
    }
    return new PageSending(sent);
  }

  /** Somebody has called rowcast.disconnect(): what was before that is on its way. */
  #dismiss(member: Member, sent: Promise<void>): void {
    this.#leave(member);
    this.#deps.dismiss(member.connection, sent);
  }

  /** To fetch anew is less than to hear all of it. */
  #giveUp(member: Member): void {
    this.#remove(member);
    this.#owner.tooMuch(member);
  }

  /**
   * Where the member's replay began, so that a client that is cut off starts it again. A replay
   * that is not whole has no such place: a client that is cut off before READY must still hear of
   * it.
   */
  #cursorOf(member: Member): string {
    const { cursors, durable } = this.#deps;
    return this.#isWhole(member) ? cursors.format(durable(member.has)) : cursors.nowhere();
  }

  /**
   * The replay reaches back to what the client has. Retention may have removed rows that it was
   * still to read, but none of a transaction that is still open.
   */
  #isWhole({ fromItsCursor, start }: Member): boolean {
    const floor = this.#deps.floor();
    if (!fromItsCursor || start.xmax < floor) return false;
    const now = dispatchedUpTo(this.#deps.position());
    return start.xip.every((xid) => xid >= floor || !now.sees(xid));
  }

  /** Rooms that its token does not allow, it may be in by a table. */
  #judgementOf({ userId, rooms = [], refused = [] }: Connection): Judgement {
    const isIn = (room: string) => this.#deps.membership.isIn(userId, room);
    return {
      rooms: [...rooms, ...refused.filter(isIn)],
      refused: refused.filter((room) => !isIn(room)),
    };
  }

  /** Synchronous: nothing can be dispatched between READY and being live. */
  #goLive(until: Snapshot): void {
    const { fanout, cursors, durable, logger } = this.#deps;
    const cursor = cursors.format(durable(until));
    for (const member of this.#members) {
      const { connection, roomChange } = member;
      const recovered = this.#isWhole(member);
      const { wanted } = connection;
      const last: string[] = [];
      const isReady = !roomChange || !recovered;
      if (wanted !== undefined) {
        // A client that is cut off before READY goes on from where its replay began.
        const place = isReady ? this.#cursorOf(member) : cursor;
        last.push(roomsFrame({ ...this.#judgementOf(connection), wanted }, place));
      }
      if (isReady) {
        last.push(readyFrame(cursor, recovered));
        this.#deps.events.emit('ready', connection, recovered);
      }
      // A lane keeps its order: once the last frame is delivered, the replay is.
      void fanout
        .send(
          connection,
          last.map((frame) => new Payload(Buffer.from(frame))),
        )
        .then(() => this.#owner.delivered(member, until));
      this.#deps.goLive(connection);
    }
    logger.debug({ event: 'joined', connections: this.#members.size }, 'connections are live');
    this.#members.clear();
  }
}

export interface Member {
  readonly connection: Connection;
  /** It has everything that this sees. */
  has: Snapshot;
  /** Where its replay began. */
  start: Snapshot;
  /** Nothing is missing before the start. */
  fromItsCursor: boolean;
  /** It has had nothing on this connection. */
  readonly isReturning: boolean;
  /** The next leader knows what it has, or has to begin anew. */
  announced: boolean;
  /** It is live but for rooms that it has joined: no READY follows. */
  roomChange: RoomChange | null;
  /** Events that it was sent in this replay. */
  sent: number;
}

/** Who put the members together: it hears what becomes of each. */
export interface ReplayGroupOwner {
  /** Resolves when the group may read one more page. @returns to be called when that is sent */
  turn(userIds: readonly string[]): Promise<() => void>;
  /** It is missing more events than are replayed. */
  tooMuch(member: Member): void;
  /** READY and everything up to there was delivered, or the connection was closed meanwhile. */
  delivered(member: Member, upTo: Snapshot): void;
  /** The connection is over. */
  ended(member: Member): void;
  /** These go on as another group once they have got the page. */
  straggling(members: readonly Member[], position: Position, sending: PageSending<Member>): void;
}

export interface ReplayEvents {
  /** A connection that is new, or has fallen behind, waits for its replay. */
  joining: [Connection];
  /** Frames of a replay were given to a connection's lane. */
  replayed: [frames: number];
  /** READY was given to a connection's lane; from here on it is live. */
  ready: [Connection, recovered: boolean];
}

export interface ReplayGroupDeps {
  readonly clock: Clock;
  readonly events: Emitter<Pick<ReplayEvents, 'replayed' | 'ready'>>;
  /** On a session of its own: a long replay must not hold up the drain loop's reads. */
  readonly log: EventLog;
  readonly fanout: Fanout;
  readonly cursors: CursorTokens;
  readonly membership: Membership;
  /** A connection that misses more is told to fetch. */
  readonly maxEvents: number;
  readonly maxFrameBytes: number;
  readonly logger: Logger;
  /** Where the log is read to. */
  position(): Position;
  /** Everything after the place was read, and nothing found. */
  isQuietSince(place: Snapshot): boolean;
  /** The latest place for a client's cursor that is not after `place`. */
  durable(place: Snapshot): Snapshot;
  /** Rows of transactions below may be gone. */
  floor(): bigint;
  /** Brings `floor` up to date. */
  readFloor(): Promise<void>;
  /** Resolves once it is committed that these have everything up to there. */
  announce(connections: readonly Connection[], upTo: Snapshot): Promise<void>;
  /** As log/disconnected.ts reads them. */
  disconnected(until: Snapshot, sinceMs: number): Promise<readonly Disconnect[]>;
  /** Closes it once what was sent is settled. */
  dismiss(connection: Connection, sent: Promise<void>): void;
  /** From the next window on the connection gets what is dispatched. */
  goLive(connection: Connection): void;
  /** Runs between two reads of the log. */
  betweenReads<Result>(work: () => Promise<Result>): Promise<Result>;
}
