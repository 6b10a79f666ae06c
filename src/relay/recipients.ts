import type { Logger } from 'pino';
import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { LimitedLog } from '../limited-log.ts';
import type { CommittedCursor, Served } from '../log/cursor-store.ts';
import type { Position } from '../log/event-log.ts';
import { Snapshot } from '../log/snapshot.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import type { Fanout } from '../pusher/fanout.ts';
import { Exceptions, nameOf } from './exceptions.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import { Recipient } from './recipient.ts';
import type { Replay } from './replay.ts';
import { TakeoverRecord } from './takeover-record.ts';

/** A connection that fell behind and has not caught up after this long is closed; what it lacks it gets by its own cursor. */
const BEHIND_DEADLINE_MS = 60_000;

/**
 * Which connections are delivered to in a term, and how: live from the committed cursor where the leader before
 * has served them, after a replay where not, again from the log where they fell behind, and no more once they are over.
 * Says what the cursor's row has to say of them (`record`), by the two rules of recipient.ts.
 */
export class Recipients {
  readonly #deps: RecipientsDeps;
  readonly #log: LimitedLog;
  readonly #byId = new Map<string, Recipient>();
  readonly #record: TakeoverRecord;
  /** What the leader before knew, of connections that may be read from the table later. */
  readonly #inherited: Exceptions;
  readonly #beganMs = Date.now();
  readonly #joined = (connection: Connection) => this.#join(connection);
  readonly #left = (connection: Connection) => this.#leave(connection);
  readonly #changed = (before: Connection, connection: Connection) =>
    this.#change(before, connection);
  readonly #overdue = (connection: Connection) => void this.#deps.fanout.disconnect(connection);

  constructor(deps: RecipientsDeps) {
    this.#deps = deps;
    this.#log = new LimitedLog(deps.log);
    this.#inherited = Exceptions.parse(deps.exceptions);
    this.#record = new TakeoverRecord({
      history: deps.history,
      servedUntilMs: deps.served.untilMs,
      knownUntilMs: () => deps.directory.asOf,
    });
  }

  /** Connections that lack something of what was settled for the others. */
  get behind(): number {
    let count = 0;
    for (const { deadline, stage, lagging } of this.#record.pinned)
      if (deadline || lagging || stage === 'closing') count++;
    return count;
  }

  start(): void {
    const { directory, fanout } = this.#deps;
    for (const connection of directory.all()) {
      if (this.#wasServed(connection) && !this.#inherited.pinned.has(nameOf(connection)))
        this.#serve(connection);
      else this.#join(connection);
    }
    for (const connection of directory.overdue()) this.#overdue(connection);
    directory
      .on('joined', this.#joined)
      .on('left', this.#left)
      .on('overdue', this.#overdue)
      .on('changed', this.#changed);
    fanout
      .on('unservable', (connection, from) => this.#unservable(connection, from))
      .on('behind', (connection, from) => this.#fallBehind(connection, from))
      .on('lagging', (connection) => this.#lag(connection))
      .on('caughtUp', (connection) => this.#rejoin(connection))
      .on('ended', (connection) => this.#forget(connection));
  }

  stop(): void {
    for (const { deadline } of this.#byId.values()) clearTimeout(deadline);
    this.#deps.directory
      .off('joined', this.#joined)
      .off('left', this.#left)
      .off('overdue', this.#overdue)
      .off('changed', this.#changed);
  }

  /** What the cursor's row says when `settled` was delivered, in order, to everybody who is live. */
  record(settled: Position): CommittedCursor {
    for (const recipient of this.#record.pinned) if (recipient.lagging) this.#followLane(recipient);
    return this.#record.row(settled);
  }

  /** Everybody who is live has what the position sees: who has caught up with it needs no pin any more. */
  committed({ snapshot }: Position): void {
    for (const recipient of this.#record.pinned) {
      if (recipient.stage !== 'live' || recipient.lagging || !recipient.pin?.isWithin(snapshot))
        continue;
      recipient.pin = null;
      this.#record.note(recipient);
    }
  }

  /**
   * These have everything up to `from` and are about to be READY. Resolves once that is committed: a relay that takes over
   * in this moment goes on from there, and does not begin their replay again with what was before they connected. (Who
   * missed something is not among them: whoever takes over has to say so again.)
   */
  async announce(connections: readonly Connection[], from: Snapshot): Promise<void> {
    for (const connection of connections) {
      const recipient = this.#of(connection);
      if (!recipient || recipient.served) continue;
      recipient.served = true;
      recipient.pin = from;
      this.#record.note(recipient);
    }
    await this.#deps.commit();
  }

  /** The leader before has served it: what it lacks is what the cursor lacks. */
  #serve(connection: Connection): void {
    const { fanout } = this.#deps;
    const recipient = this.#add(connection, true, null);
    recipient.stage = 'live';
    recipient.hadReady = true;
    fanout.open(connection);
    fanout.goLive(connection);
  }

  /** By the leader before, up to the cursor or its pin. */
  #wasServed(connection: Connection): boolean {
    const name = nameOf(connection);
    if (connection.connectedAt >= this.#deps.served.untilMs)
      return this.#inherited.served.has(name);
    return !this.#inherited.unserved.has(name);
  }

  /** One that the leader before has served and that is read from the table only now lacks what was dispatched since the term began. */
  #join(connection: Connection): void {
    const name = nameOf(connection);
    const wasServed = this.#wasServed(connection);
    const pin = this.#inherited.pinned.get(name) ?? (wasServed ? this.#deps.start : undefined);
    this.#inherited.pinned.delete(name);
    this.#inherited.served.delete(name);
    const recipient = this.#add(connection, pin !== undefined, pin ?? null);
    this.#deps.fanout.open(connection);
    if (pin) this.#catchUp(recipient, pin);
    else this.#replay(recipient);
  }

  #add(connection: Connection, served: boolean, pin: Snapshot | null): Recipient {
    const former = this.#byId.get(connection.connectionId);
    if (former) this.#end(former);
    const recipient = new Recipient(connection, served, pin);
    this.#byId.set(connection.connectionId, recipient);
    this.#record.note(recipient);
    return recipient;
  }

  #end(recipient: Recipient): void {
    clearTimeout(recipient.deadline);
    const { connectionId } = recipient.connection;
    if (this.#byId.get(connectionId) === recipient) this.#byId.delete(connectionId);
    if (this.#record.remove(recipient)) this.#commitSoon();
  }

  /** Undefined too where the id now belongs to a later connection, or the item was changed since. */
  #of(connection: Connection): Recipient | undefined {
    const recipient = this.#byId.get(connection.connectionId);
    return recipient?.connection === connection ? recipient : undefined;
  }

  /** A connection whose token has expired is still open at the gateway, and its client must notice. */
  #leave(connection: Connection): void {
    const { fanout } = this.#deps;
    if (connection.ttl * 1000 <= Date.now()) void fanout.disconnect(connection);
    else fanout.close(connection);
    const recipient = this.#byId.get(connection.connectionId);
    if (recipient?.connection.connectedAt === connection.connectedAt) this.#end(recipient);
  }

  /** It goes on as what it is now: from where it was, or, where it has not had its replay, with that. */
  #change(before: Connection, connection: Connection): void {
    const { fanout, readUpTo } = this.#deps;
    const former = this.#of(before);
    // Its socket is being closed.
    if (!former || former.stage === 'closing') return;
    const waiting = fanout.close(before);
    if (!former.served) {
      this.#join(connection);
      return;
    }
    const inLane = waiting ? Snapshot.of(waiting) : readUpTo().snapshot;
    const isInLane = former.lagging && former.stage === 'live';
    const pin = isInLane ? inLane : (former.pin ?? inLane);
    const recipient = this.#add(connection, true, pin);
    fanout.open(connection);
    this.#catchUp(recipient, pin);
  }

  #lag(connection: Connection): void {
    const recipient = this.#of(connection);
    if (!recipient) return;
    recipient.lagging = true;
    this.#followLane(recipient);
  }

  /** Its pin is where the oldest of what waits for it begins; one that it has already is older. */
  #followLane(recipient: Recipient): void {
    const from = this.#deps.fanout.oldestOf(recipient.connection);
    if (!from || (recipient.stage !== 'live' && recipient.pin)) return;
    const pin = Snapshot.of(from);
    if (pin.text === recipient.pin?.text) return;
    recipient.pin = pin;
    this.#record.note(recipient);
  }

  #rejoin(connection: Connection): void {
    const recipient = this.#of(connection);
    if (!recipient?.lagging) return;
    recipient.lagging = false;
    // Everything that was dispatched, it has; where its READY is not delivered yet, the pin says up to where.
    if (recipient.stage === 'live') recipient.pin = null;
    this.#record.note(recipient);
    this.#commitSoon();
  }

  /** A live connection was too slow: its lane has everything up to `from`, and what came after was dropped. */
  #fallBehind(connection: Connection, from: CursorSnapshot): void {
    const recipient = this.#of(connection);
    if (!recipient) return;
    const lastWhole = Snapshot.of(from);
    recipient.lagging = false;
    recipient.pinAt(lastWhole);
    this.#record.note(recipient);
    this.#catchUp(recipient, lastWhole);
  }

  /** @param from the window of what waits; undefined where nothing of the live stream waits, or its replay does */
  #unservable(connection: Connection, from: CursorSnapshot | undefined): void {
    const recipient = this.#of(connection);
    if (!recipient) return;
    // Without a pin it is live, and has what is committed.
    if (recipient.served && !recipient.pin)
      recipient.pinAt(from ? Snapshot.of(from) : this.#deps.committed().snapshot);
    recipient.stage = 'closing';
    recipient.lagging = false;
    this.#record.note(recipient);
  }

  /** It goes on from the log, or is closed where that takes too long. */
  #catchUp(recipient: Recipient, from: Snapshot): void {
    const { fanout } = this.#deps;
    recipient.deadline ??= setTimeout(() => {
      this.#unservable(recipient.connection, undefined);
      void fanout.disconnect(recipient.connection);
    }, BEHIND_DEADLINE_MS);
    this.#replay(recipient, from);
  }

  #replay(recipient: Recipient, from?: Snapshot): void {
    const { connection } = recipient;
    const round = ++recipient.replays;
    recipient.stage = 'replaying';
    const ready = (until: Snapshot) => {
      const dropped = this.#of(connection) !== recipient || recipient.stage === 'closing';
      if (!dropped && round === recipient.replays) this.#caughtUp(recipient, until);
    };
    // Who came after the term began cannot have been served by the leader before.
    const mayHaveBeenServed =
      this.#inherited.more && connection.connectedAt < this.#beganMs + CLOCK_MARGIN_MS;
    this.#deps.replay.join({ connection, from, mayHaveBeenServed, ready });
  }

  /** READY was delivered, and with it everything up to `until`. */
  #caughtUp(recipient: Recipient, until: Snapshot): void {
    clearTimeout(recipient.deadline);
    recipient.deadline = undefined;
    recipient.stage = 'live';
    recipient.hadReady = true;
    recipient.served = true;
    recipient.pin = until;
    this.#record.note(recipient);
    this.#commitSoon();
  }

  #commitSoon(): void {
    // A commit that fails ends the term, wherever it was asked for.
    this.#deps.commit().catch(() => undefined);
  }

  /** The gateway says that the connection is over, or it was closed because it could not be served. */
  #forget(connection: Connection): void {
    const { directory, store } = this.#deps;
    const { connectionId, connectedAt } = connection;
    const recipient = this.#byId.get(connectionId);
    if (recipient?.connection.connectedAt === connectedAt) this.#end(recipient);
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

export interface RecipientsDeps {
  readonly directory: ConnectionDirectory;
  readonly store: ConnectionStore;
  readonly fanout: Fanout;
  readonly replay: Replay;
  readonly history: PositionHistory;
  /** As the leader before left it. */
  readonly served: Served;
  /** As the leader before left it: JSON, see exceptions.ts. */
  readonly exceptions: string;
  readonly log: Logger;
  /** Where the term began. */
  readonly start: Snapshot;
  /** How far the log was read and handed to delivery. */
  readUpTo(): Position;
  /** What was committed last. */
  committed(): Position;
  /** Resolves once a commit that began after the call is made. @throws when the lease or the database is lost */
  commit(): Promise<void>;
}
