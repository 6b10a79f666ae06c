import { Delivery, type Event } from '../../src/client/delivery.ts';
import { type Frame, framesOf } from '../../src/client/frames.ts';
import { Presence } from '../../src/client/presence.ts';
import type { Connection } from '../../src/connections/connection.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { termsOf } from '../../src/protocol/audience.ts';
import { parseCursor } from '../../src/protocol/cursor.ts';
import type { SimulatedGateway, SimulatedTable, Socket } from './gateway.ts';
import { ROOM_BY_TABLE } from './memberships.ts';
import type { Row, SimulatedPostgres } from './postgres.ts';
import type { VirtualTime } from './virtual-time.ts';

/** API Gateway waits for $connect this long. */
const LAMBDA_MS = 29_000;

/** A broken promise, which ends the run. */
export class Violation extends Error {}

export interface Surroundings {
  readonly time: VirtualTime;
  readonly postgres: SimulatedPostgres;
  readonly gateway: SimulatedGateway;
  readonly table: SimulatedTable;
  trace(line: string): void;
  /** Every relay that leads has the item with that room. */
  leadersKnow(connection: Connection, room: string): boolean;
  violated(message: string): void;
}

/**
 * A user's browser: connects with its cursor, drops repeats by the real client's code, comes back
 * when it was cut off, and keeps account of what it was told.
 */
export class SimulatedClient {
  readonly userId: string;
  rooms: readonly string[];
  /**
   * Its rooms have changed in place: the order within a row of several audiences is not promised.
   */
  roomsChanged = false;
  /** When, in virtual time, it asked for the rooms that it has. */
  #askedAt: number | null = null;
  /** From when on, in virtual time, it must hear of a room. */
  readonly #roomsSince = new Map<string, number>();
  /** The connection that it has now. */
  connection: Connection | null = null;
  /** The id of the connection that it had last. */
  formerId: string | null = null;
  isReady = false;
  /** It does not come back. */
  left = false;
  readonly received = new Set<Row>();
  readonly presence = new Presence(() => this.moveTo(this.rooms, true));
  readonly #around: Surroundings;
  #socket: Socket | null = null;
  #delivery: Delivery;
  /** Rows that it need not be told: they were committed before it connected or fetched. */
  #known = new Set<Row>();
  #began = false;
  /** The leader's term as its connection began. */
  #term = 0;
  #wasReady = false;
  /** The newest change that it was told, by key. */
  #newest = new Map<string, bigint>();
  /** All that its connection was addressed by, over time. */
  #terms = new Set<string>();

  constructor(userId: string, rooms: readonly string[], around: Surroundings) {
    this.userId = userId;
    this.rooms = rooms;
    this.#around = around;
    this.#delivery = new Delivery({
      message: (event) => this.#message(event),
      fetchRow: undefined,
      fetchTimeoutMs: 0,
      maxRememberedIds: 10_000,
      signal: new AbortController().signal,
    });
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  /** Its socket is open, and the gateway has it. */
  get isAttached(): boolean {
    return this.#socket?.attached ?? false;
  }

  /**
   * The upgrade begins now. `$connect` stores the item after `storedMs`, and the socket is open a
   * bit later.
   */
  connect(connectionId: string, storedMs: number, ttlSeconds: number): void {
    const { time, table, postgres } = this.#around;
    if (this.connection) return;
    const { cursor } = this.#delivery;
    const connection: Connection = {
      connectionId,
      userId: this.userId,
      connectedAt: time.epochMs,
      ttl: Math.floor(time.epochMs / 1000) + ttlSeconds,
      rooms: this.rooms,
      ...(cursor === undefined ? {} : { cursor }),
      ...(this.userId.endsWith('1') ? { batch: true } : {}),
    };
    this.connection = connection;
    this.#term = postgres.cursor.term;
    this.formerId = connectionId;
    this.isReady = false;
    this.#terms = new Set(termsOf(connection));
    // Without a cursor nothing was ever heard: the application fetches at the first READY.
    if (cursor === undefined) this.#known = new Set(postgres.committedRows());
    this.#began = true;
    for (const room of this.rooms)
      if (!this.#roomsSince.has(room)) this.#roomsSince.set(room, time.now);
    this.#around.trace(`${this.userId} connects as ${connectionId} with ${cursor ?? 'no cursor'}`);
    time.after(storedMs, () => table.items.set(connectionId, connection));
    const openMs = time.chance(0.1) ? time.between(20, 5000) : time.between(1, 20);
    time.after(Math.min(storedMs + openMs, LAMBDA_MS), () => this.#open(connection));
  }

  /** The network is gone: the gateway notices after a time. */
  cut(noticedMs: number): void {
    const { time, gateway } = this.#around;
    const { connection } = this;
    if (!connection || !this.#socket) return;
    this.#socket.attached = false;
    this.#over();
    time.after(noticedMs, () => gateway.drop(connection.connectionId));
  }

  /** It asks for rooms, and API Gateway writes that to its item; or another hand does. */
  moveTo(rooms: readonly string[], isAsked: boolean): void {
    const { table, time } = this.#around;
    const item = this.connection && table.items.get(this.connection.connectionId);
    if (!item || item.connectedAt !== this.connection?.connectedAt) return;
    this.rooms = rooms;
    this.roomsChanged = true;
    // Events of a room that it has left need not come any more.
    for (const room of this.#roomsSince.keys())
      if (!rooms.includes(room)) this.#roomsSince.delete(room);
    this.#askedAt = isAsked ? time.now : null;
    const wish = { wanted: rooms.join(), wantedAt: time.epochMs };
    const changed = { ...item, rooms, ...(isAsked && wish) };
    for (const term of termsOf(changed)) this.#terms.add(term);
    table.items.set(item.connectionId, changed);
  }

  /** An event of which it can be said for sure that this client must hear. */
  isDue(row: Row): boolean {
    if (row.isDisconnect || row.isMembers) return false;
    if (!this.#began || row.committedAt === undefined || this.#known.has(row)) return false;
    return row.audience.some(
      (term) =>
        term === 'all' ||
        term === `user:${this.userId}` ||
        (term === `room:${ROOM_BY_TABLE}` && this.#isStillMember(row)) ||
        (row.committedAt ?? 0) > (this.#roomsSince.get(term.replace('room:', '')) ?? Infinity),
    );
  }

  /** It was in the room by the table as the row was committed, and has been since. */
  #isStillMember({ members, commit = 0, id }: Row): boolean {
    const left = this.#around.postgres.memberships.lastLeft(this.userId);
    const isAfter = !left || left.commit < commit || (left.commit === commit && left.id < id);
    return !!members?.has(this.userId) && isAfter;
  }

  /**
   * It was in the room as the row was committed, and some time since its connection began. The next
   * leader does not know whether a connection with a place has had anything: it may be sent more.
   */
  #wasMember({ members }: Row): boolean {
    const { postgres, time } = this.#around;
    if (!members?.has(this.userId)) return false;
    if (this.#term !== postgres.cursor.term || postgres.memberships.members().has(this.userId))
      return true;
    const leftMs = postgres.memberships.lastLeft(this.userId)?.committedAt ?? 0;
    return time.epochMs - time.now + leftMs >= (this.connection?.connectedAt ?? 0);
  }

  /** Rows that it should have and does not. */
  missing(rows: Iterable<Row>): Row[] {
    return [...rows].filter((row) => this.isDue(row) && !this.received.has(row));
  }

  /** A call that its connection is older than, and that meant it. */
  isDisconnectedBy({ isDisconnect, committedAt, audience, occurredMs }: Row): boolean {
    if (!isDisconnect || committedAt === undefined || !this.connection) return false;
    if (this.connection.connectedAt >= occurredMs) return false;
    return audience.some((term) => term === 'all' || term === `user:${this.userId}`);
  }

  /** Rows that a crash undid never were. */
  forgetUndone(rows: readonly Row[]): void {
    for (const row of rows) {
      this.received.delete(row);
      this.#known.delete(row);
      if (this.#newest.get(row.key) === row.id) this.#newest.delete(row.key);
    }
  }

  #open(connection: Connection): void {
    const { gateway } = this.#around;
    if (this.connection !== connection) return;
    const socket: Socket = {
      connectionId: connection.connectionId,
      attached: true,
      receive: (text) => {
        if (this.#socket !== socket) return;
        for (const frame of framesOf(text, false)) this.#receive(frame);
      },
      closed: () => {
        if (this.#socket === socket) this.#over();
        this.#disconnected(connection);
      },
    };
    this.#socket = socket;
    gateway.sockets.set(connection.connectionId, socket);
  }

  /** $disconnect removes the item, a while after. */
  #disconnected({ connectionId, connectedAt }: Connection): void {
    const { time, table } = this.#around;
    time.after(time.between(5, 300), () => {
      if (table.items.get(connectionId)?.connectedAt === connectedAt)
        table.items.delete(connectionId);
    });
  }

  #over(): void {
    this.connection = null;
    this.#socket = null;
    this.isReady = false;
  }

  #receive(frame: Frame): void {
    this.#checkCursor(frame);
    if (frame.type === 'READY') this.#ready(frame);
    else if (frame.type === 'ROOMS') this.#answered(frame);
    else if (frame.type === 'PRESENCE') this.#hearPresence(frame);
    else if (frame.type === 'DISCONNECT') this.#disconnect();
    else if (frame.id !== undefined && !this.#delivery.knows(frame))
      this.#delivery.event(frame as Event);
  }

  #hearPresence(frame: Frame): void {
    const { room = '' } = frame;
    this.#around.trace(`${this.userId} hears ${JSON.stringify(frame)}`);
    const mayHear = room === ROOM_BY_TABLE || this.#terms.has(`room:${room}`);
    if (!mayHear) this.#around.violated(`${this.userId} was told who is in ${room}`);
    this.presence.receive(frame);
  }

  /** Rooms that it is in now. */
  get roomsNow(): string[] {
    const isMember = this.#around.postgres.memberships.members().has(this.userId);
    return isMember ? [...this.rooms, ROOM_BY_TABLE] : [...this.rooms];
  }

  /** Whatever was committed for the rooms from here on must come. */
  #answered({ wanted, cursor }: Frame): void {
    this.#around.trace(`${this.userId} is in ${wanted}, at ${cursor}`);
    this.#delivery.cursor = cursor;
    if (wanted !== this.rooms.join()) return;
    // A frame that names no place is followed by a READY that says what is missing.
    if (parseCursor(cursor ?? '')) this.#checkSinceAsked();
    this.#expectRooms();
  }

  /** The answer comes after all that was committed for the rooms since they were asked for. */
  #checkSinceAsked(): void {
    const { postgres } = this.#around;
    const askedAt = this.#askedAt;
    const cursor = parseCursor(this.#delivery.cursor ?? '');
    if (askedAt === null || !cursor) return;
    const place = Snapshot.of(cursor.snapshot);
    const missing = postgres
      .committedRows()
      .find(
        (row) =>
          !row.isDisconnect &&
          !row.isMembers &&
          (row.committedAt ?? 0) > askedAt &&
          place.sees(row.xid) &&
          row.audience.some((term) => this.rooms.some((room) => term === `room:${room}`)) &&
          !this.received.has(row) &&
          !this.#known.has(row),
      );
    if (missing)
      this.#around.violated(
        `${this.userId} is in ${this.rooms}, and was not sent ${missing.id}, committed since it asked`,
      );
  }

  /** Only by a call that its connection is older than. */
  #disconnect(): void {
    const { rows, undone } = this.#around.postgres;
    if (![...rows, ...undone].some((row) => this.isDisconnectedBy(row)))
      this.#around.violated(`${this.userId} was disconnected by no call`);
  }

  #ready({ recovered, cursor }: Frame): void {
    const { postgres } = this.#around;
    this.#around.trace(`${this.userId} is READY, recovered ${recovered}, at ${cursor}`);
    this.isReady = true;
    this.#wasReady = true;
    this.#delivery.cursor = cursor;
    this.#expectRooms();
    if (recovered) return;
    // It fetches: from now on it knows all that is there.
    this.#delivery.forget();
    this.#known = new Set(postgres.committedRows());
    this.#newest.clear();
  }

  /** READY or ROOMS of a leader that knows of a room: from now on its events must come. */
  #expectRooms(): void {
    const { connection } = this;
    if (!connection) return;
    for (const room of this.rooms)
      if (!this.#roomsSince.has(room) && this.#around.leadersKnow(connection, room))
        this.#roomsSince.set(room, this.#around.time.now);
  }

  #message({ id, cursor }: Event): void {
    const { postgres } = this.#around;
    const violated = (message: string) => this.#around.violated(message);
    const row = postgres.rows.find((each) => each.id === BigInt(id));
    // A crash has undone it since it was sent.
    if (!row) return;
    const former = postgres.rows.find(
      (each) =>
        this.isDisconnectedBy(each) &&
        // A call that retention has removed undelivered waits until the clients are told of that.
        !each.removed &&
        each.id < row.id &&
        (each.committedAt ?? 0) < (row.committedAt ?? 0),
    );
    if (former) violated(`${this.userId} was sent ${id} after ${former.id} had disconnected it`);
    if (row.committedAt === undefined) violated(`${this.userId} was sent ${id}, not committed`);
    const isMembers = row.audience.includes(`room:${ROOM_BY_TABLE}`) && this.#wasMember(row);
    if (!isMembers && !row.audience.some((term) => this.#terms.has(term)))
      violated(`${this.userId} was sent ${id}, which is for ${row.audience}`);
    this.received.add(row);
    // Before the first READY, and where the frame names no place, the application fetches later.
    // Where the rooms change in mid-replay, changes come that were not for it before.
    if (!this.#wasReady || !parseCursor(cursor ?? '') || this.roomsChanged) return;
    const newest = this.#newest.get(row.key) ?? 0n;
    if (row.id < newest)
      violated(`${this.userId} was sent ${id} of ${row.key} after the later change ${newest}`);
    this.#newest.set(row.key, row.id);
  }

  /** It would resume from there: everything that the cursor sees, it must have. */
  #checkCursor({ cursor, type, recovered }: Frame): void {
    const parsed = cursor === undefined ? null : parseCursor(cursor);
    if (!parsed || (type === 'READY' && !recovered)) return;
    const { postgres } = this.#around;
    if (parsed.installation !== postgres.installation.id.slice(0, 8)) return;
    const snapshot = Snapshot.of(parsed.snapshot);
    const undoable = postgres.undoable(snapshot);
    if (undoable)
      this.#around.violated(`${this.userId} was given ${cursor}: a crash would undo ${undoable}`);
    const seen = postgres.committedRows().filter(({ xid }) => snapshot.sees(xid));
    const [missing] = this.missing(seen);
    if (missing)
      this.#around.violated(
        `${this.userId} was given the cursor ${cursor}, and is missing ${missing.id}`,
      );
  }
}
