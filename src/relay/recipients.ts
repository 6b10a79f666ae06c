import type { Clock } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import {
  type ConnectionDirectory,
  type DirectoryFollower,
  follow,
} from '../connections/connection-directory.ts';
import type { Emitter } from '../events.ts';
import type { CommittedCursor } from '../log/cursor-store.ts';
import type { Position } from '../log/event-log.ts';
import { Snapshot } from '../log/snapshot.ts';
import type { CursorSnapshot } from '../protocol/cursor.ts';
import type { Fanout } from '../pusher/fanout.ts';
import type { FanoutOwner } from '../pusher/fanout-owner.ts';
import type { Inheritance } from './inheritance.ts';
import type { Membership } from './membership.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import { Recipient, type RecipientEvents, type Standing, servedUpTo } from './recipient.ts';
import type { Replay } from './replay.ts';
import { roomChangeOf } from './room-change.ts';
import { TakeoverRecord } from './takeover-record.ts';

/** A connection that has not caught up after this long is closed, and resumes by its own cursor. */
const BEHIND_DEADLINE_MS = 60_000;

/**
 * The connections that a leader delivers to: live where the leader before has served them, after a
 * replay where not, again from the log where they fell behind, and not at all once they are over.
 * `record` says what the cursor's row has to say of them, by the two rules of recipient.ts.
 */
export class Recipients implements FanoutOwner, DirectoryFollower {
  readonly #deps: RecipientsDeps;
  readonly #byId = new Map<string, Recipient>();
  readonly #record: TakeoverRecord;
  #unfollow: () => void = () => undefined;

  constructor(deps: RecipientsDeps) {
    this.#deps = deps;
    this.#record = new TakeoverRecord({
      history: deps.history,
      inheritance: deps.inheritance,
      servedUntilMs: deps.servedUntilMs,
      knownUntilMs: () => deps.directory.asOf,
    });
  }

  /** Connections that are not live with all the others. */
  get behind(): number {
    let count = 0;
    for (const { deadline, standing } of this.#record.pinned)
      if (deadline || standing.lagging || standing.stage === 'closing') count++;
    return count;
  }

  /** @throws when the database is lost */
  async start(): Promise<void> {
    const { directory, fanout, inheritance, membership } = this.#deps;
    fanout.reportTo(this);
    const users = await this.#usersLoaded();
    for (const connection of directory.all()) this.#join(connection, inheritance.first(connection));
    for (const connection of directory.expired())
      this.#closeExpired(connection, inheritance.first(connection));
    this.#unfollow = follow(directory, this);
    for (const userId of users) membership.untrack(userId);
  }

  /** Whom the leader before has served is live at once. @returns users that are tracked */
  async #usersLoaded(): Promise<Iterable<string>> {
    const { directory, membership } = this.#deps;
    const users = new Set<string>();
    const newOnes = () =>
      new Set(Array.from(directory.all(), ({ userId }) => userId).filter((id) => !users.has(id)));
    for (let some = newOnes(); some.size > 0; some = newOnes()) {
      for (const userId of some) {
        users.add(userId);
        membership.track(userId);
      }
      await membership.load(some);
    }
    return users;
  }

  stop(): void {
    for (const { deadline } of this.#byId.values()) deadline?.cancel();
    this.#unfollow();
  }

  /** The cursor's row once `settled` was delivered, in order, to everybody who is live. */
  record(settled: Position): CommittedCursor {
    for (const { standing, connection } of this.#record.pinned)
      if (standing.lagging) this.#followLane(connection);
    return this.#record.row(settled);
  }

  /** Drops the pins that the committed cursor now says as well. */
  committed({ snapshot }: Position): void {
    for (const recipient of this.#record.pinned) this.#apply(recipient, 'committed', snapshot);
  }

  /**
   * These have everything up to `upTo` and are about to be READY. Resolves once that is committed:
   * a takeover in this moment goes on from there, and does not begin their replay anew with rows
   * from before they connected. A connection whose replay is not whole is not among them: the next
   * leader has to say again that it missed something.
   */
  async announce(connections: readonly Connection[], upTo: Snapshot): Promise<void> {
    for (const connection of connections) {
      const recipient = this.#of(connection);
      if (recipient) this.#apply(recipient, 'announced', upTo);
    }
    await this.#deps.commit();
  }

  lags(connection: Connection): void {
    const recipient = this.#of(connection);
    if (!recipient) return;
    this.#apply(recipient, 'lags', null);
    this.#followLane(connection);
    this.#deps.events.emit('behind', connection);
  }

  caughtUp(connection: Connection): void {
    const recipient = this.#of(connection);
    if (!recipient?.standing.lagging) return;
    this.#apply(recipient, 'caughtUp', null);
    this.#commitSoon();
  }

  fellBehind(connection: Connection, from: CursorSnapshot): void {
    const recipient = this.#of(connection);
    if (!recipient || recipient.standing.stage === 'closing') return;
    const upTo = Snapshot.of(from);
    this.#apply(recipient, 'fellBehind', upTo);
    this.#catchUp(recipient, upTo);
    this.#deps.events.emit('behind', connection);
  }

  unservable(connection: Connection, from: CursorSnapshot | undefined): void {
    const recipient = this.#of(connection);
    if (!recipient) return;
    const upTo = from ? Snapshot.of(from) : this.#deps.committed().snapshot;
    this.#apply(recipient, 'unservable', upTo);
  }

  /** Its last frames were sent: its socket is closed after them. */
  dismiss(connection: Connection, sent: Promise<void>): void {
    this.unservable(connection, undefined);
    this.#deps.fanout.closeAfter(connection, sent);
  }

  ended(connection: Connection): void {
    this.#endIncarnation(connection);
    this.#deps.directory.gone(connection);
    this.#deps.removeItem(connection);
  }

  joined(connection: Connection): void {
    this.#join(connection, this.#deps.inheritance.later(connection));
  }

  /** Closes the socket of a connection whose token has expired, so that its client notices. */
  left(connection: Connection): void {
    const { fanout, clock } = this.#deps;
    // DynamoDB's clock may be ahead, and its sweeper may come first.
    if (connection.ttl * 1000 <= clock.epochMs() + CLOCK_MARGIN_MS) {
      // It stays in the record until its socket is closed: a takeover may come before.
      this.#close(connection, fanout.oldestLiveOf(connection));
      return;
    }
    fanout.end(connection);
    this.#endIncarnation(connection);
  }

  expired(connection: Connection): void {
    this.#closeExpired(connection, this.#deps.inheritance.later(connection));
  }

  /** Goes on from where the connection was, or begins anew where it has not had its replay. */
  changed(before: Connection, connection: Connection): void {
    const { fanout, readUpTo, inheritance } = this.#deps;
    const former = this.#of(before);
    if (!former || former.standing.stage === 'closing') return;
    const { served, pin, stage } = former.standing;
    const waiting = fanout.end(before);
    if (!served) {
      this.#join(connection, inheritance.later(connection));
      return;
    }
    const inLane = waiting ? Snapshot.of(waiting) : readUpTo().snapshot;
    const upTo = stage === 'live' ? inLane : (pin ?? inLane);
    const roomChange = roomChangeOf(former, connection, upTo);
    const isMore = !roomChange || roomChange.gained.size > 0;
    const from = isMore ? upTo.meet(this.#placeBeforeChange(connection)) : upTo;
    const hadReady = former.standing.hadReady && roomChange !== null;
    this.#join(connection, { ...servedUpTo(from), hadReady, roomChange });
  }

  #apply<Name extends keyof RecipientEvents>(
    recipient: Recipient,
    name: Name,
    at: RecipientEvents[Name],
  ): void {
    if (recipient.apply(name, at)) this.#record.note(recipient);
  }

  #join(connection: Connection, standing: Standing): void {
    const recipient = this.#add(connection, standing);
    const { stage, pin } = standing;
    this.#deps.fanout.open(connection);
    if (stage === 'live') this.#deps.fanout.goLive(connection);
    else if (pin) this.#catchUp(recipient, pin);
    else this.#replay(recipient);
  }

  /** Closes the socket of a connection that was expired when it was first seen. */
  #closeExpired(connection: Connection, standing: Standing): void {
    const known = this.#byId.get(connection.connectionId);
    if (known?.connection.connectedAt !== connection.connectedAt) this.#add(connection, standing);
    this.#close(connection, undefined);
  }

  /** Closes a socket; until that is done the record names the connection. */
  #close(connection: Connection, from: CursorSnapshot | undefined): void {
    this.unservable(connection, from);
    void this.#deps.fanout.close(connection);
  }

  #add(connection: Connection, standing: Standing): Recipient {
    const former = this.#byId.get(connection.connectionId);
    this.#deps.membership.track(connection.userId);
    if (former) this.#end(former);
    const recipient = new Recipient(connection, standing);
    this.#byId.set(connection.connectionId, recipient);
    this.#record.note(recipient);
    return recipient;
  }

  #end(recipient: Recipient): void {
    recipient.deadline?.cancel();
    const { connectionId, userId } = recipient.connection;
    this.#deps.membership.untrack(userId);
    if (this.#byId.get(connectionId) === recipient) this.#byId.delete(connectionId);
    if (this.#record.remove(recipient)) this.#commitSoon();
  }

  /** An item that was changed in place is still the same connection. */
  #endIncarnation({ connectionId, connectedAt }: Connection): void {
    const recipient = this.#byId.get(connectionId);
    if (recipient?.connection.connectedAt === connectedAt) this.#end(recipient);
  }

  /** Undefined too where the id belongs to a later connection, or the item was changed since. */
  #of(connection: Connection): Recipient | undefined {
    const recipient = this.#byId.get(connection.connectionId);
    return recipient?.connection === connection ? recipient : undefined;
  }

  /**
   * The item may have been changed as early as the last read of the table: events of a room that
   * was joined since have passed the connection by. Before this leader began the former one
   * delivered, but may not have known of a wish: it could not read the table.
   */
  #placeBeforeChange({ connectedAt, wantedAt }: Connection): Snapshot {
    const { directory, history, inheritance } = this.#deps;
    const sinceMs = Math.max(directory.asOf, connectedAt) - CLOCK_MARGIN_MS;
    if (sinceMs > inheritance.beganMs) return history.at(sinceMs).snapshot;
    if (wantedAt === undefined) return inheritance.start;
    return history.at(Math.min(sinceMs, wantedAt - CLOCK_MARGIN_MS)).snapshot;
  }

  /** Moves the pin to where the oldest live frame of the lane begins. */
  #followLane(connection: Connection): void {
    const from = this.#deps.fanout.oldestLiveOf(connection);
    const recipient = this.#of(connection);
    if (from && recipient) this.#apply(recipient, 'waits', Snapshot.of(from));
  }

  /** Goes on from the log. Closes the connection where that takes too long. */
  #catchUp(recipient: Recipient, from: Snapshot): void {
    const { connection } = recipient;
    recipient.deadline ??= this.#deps.clock.after(BEHIND_DEADLINE_MS, () =>
      this.#close(connection, undefined),
    );
    this.#replay(recipient, from);
  }

  #replay(recipient: Recipient, from?: Snapshot): void {
    const { connection } = recipient;
    const round = ++recipient.replays;
    const ready = (upTo: Snapshot) => {
      if (this.#of(connection) !== recipient || round !== recipient.replays) return;
      this.#ready(recipient, upTo);
    };
    const { inDoubt, roomChange } = recipient.standing;
    this.#deps.replay.join({ connection, from, roomChange, inDoubt, ready });
  }

  /** READY was delivered, and with it everything up to `upTo`. */
  #ready(recipient: Recipient, upTo: Snapshot): void {
    if (recipient.standing.stage === 'closing') return;
    recipient.deadline?.cancel();
    recipient.deadline = undefined;
    this.#apply(recipient, 'ready', upTo);
    this.#commitSoon();
  }

  #commitSoon(): void {
    // A commit that fails ends the leader's time, wherever it was asked for.
    this.#deps.commit().catch(() => undefined);
  }
}

export interface RecipientsEvents {
  /** A live connection could not keep up: it goes on from its lane or from the log. */
  behind: [Connection];
}

export interface RecipientsDeps {
  readonly clock: Clock;
  readonly events: Emitter<RecipientsEvents>;
  readonly directory: ConnectionDirectory;
  readonly fanout: Fanout;
  readonly replay: Replay;
  readonly membership: Membership;
  readonly history: PositionHistory;
  readonly inheritance: Inheritance;
  /** As the leader before left it, epoch ms. */
  readonly servedUntilMs: number;
  /** How far the log was read and handed to delivery. */
  readUpTo(): Position;
  /** The position that was committed last. */
  committed(): Position;
  /** Resolves once a commit that began after the call is made. @throws when the lease is lost */
  commit(): Promise<void>;
  /** Removes the item of a connection that is over. */
  removeItem(connection: Connection): void;
}
