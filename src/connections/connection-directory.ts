import { EventEmitter } from 'node:events';
import { type Clock, systemClock } from '../clock.ts';
import type { Service } from '../service.ts';
import { type Connection, hasSameAudience, keepRoomsSince } from './connection.ts';

/**
 * All open connections, in memory: an event costs DynamoDB nothing. A feed (scan-feed.ts,
 * stream-feed.ts) fills it; the relay hears of each connection that joined or left.
 *
 * Two incarnations of one connection id are two connections, told apart by `connectedAt`. An item
 * may be changed in place: its rooms, say, by the application.
 */
export class ConnectionDirectory extends EventEmitter<DirectoryEvents> implements DirectorySink {
  readonly #connections = new Map<string, Connection>();
  /** Connections that delivery found gone, until a read that began later no longer shows them. */
  readonly #forgotten = new Map<string, { connectedAt: number; forgottenAt: number }>();
  /**
   * Past their ttl, and not known to be closed: nothing is delivered to them, but their sockets may
   * still be open.
   */
  readonly #expired = new Map<string, Connection>();
  readonly #clock: Clock;
  #asOf = 0;

  constructor(clock: Clock = systemClock) {
    super();
    this.#clock = clock;
  }

  get size(): number {
    return this.#connections.size;
  }

  /**
   * Everything that was stored before this time is known, epoch ms; 0 before the first complete
   * read.
   */
  get asOf(): number {
    return this.#asOf;
  }

  /** How many users they are of. */
  users(): number {
    return new Set(Array.from(this.#connections.values(), ({ userId }) => userId)).size;
  }

  all(): Iterable<Connection> {
    return this.#connections.values();
  }

  expired(): Iterable<Connection> {
    return this.#expired.values();
  }

  replaceAll(seen: Iterable<Connection>, readBeganAt: number): void {
    const missing = new Map(this.#connections);
    this.#expired.clear();
    for (const connection of seen) {
      missing.delete(connection.connectionId);
      this.#see(connection, readBeganAt);
    }
    for (const connection of missing.values()) this.#leave(connection);
    this.upToDate(readBeganAt);
  }

  /**
   * A connection was stored, or changed. What is known already, or is older than what is known, is
   * no news.
   */
  put(connection: Connection): void {
    const { connectionId, connectedAt } = connection;
    if (this.#forgotten.get(connectionId)?.connectedAt === connectedAt) return;
    const known = this.#connections.get(connectionId);
    if (!known || known.connectedAt <= connectedAt) this.#see(connection, this.#clock.epochMs());
  }

  /** A connection was removed from the table. */
  removed({ connectionId, connectedAt }: Connection): void {
    this.#expired.delete(connectionId);
    const known = this.#connections.get(connectionId);
    if (known && known.connectedAt <= connectedAt) this.#leave(known);
  }

  /** All that was in the table at that time is known. */
  upToDate(asOf: number): void {
    for (const [id, { forgottenAt }] of this.#forgotten)
      if (forgottenAt < asOf) this.#forgotten.delete(id);
    this.#asOf = Math.max(this.#asOf, Math.min(asOf, this.#clock.epochMs()));
    this.emit('upToDate', this.#asOf);
  }

  /** Connections past their ttl leave, whether or not the table can be read. @param now epoch ms */
  expire(now: number): void {
    for (const connection of this.#connections.values()) {
      if (connection.ttl * 1000 > now) continue;
      this.#expired.set(connection.connectionId, connection);
      this.#leave(connection);
    }
  }

  readFailed(): void {
    this.emit('readFailed');
  }

  /** Delivery found the connection gone before the feed did. */
  gone(connection: Connection): void {
    this.#forgotten.set(connection.connectionId, {
      connectedAt: connection.connectedAt,
      forgottenAt: this.#clock.epochMs(),
    });
    this.#expired.delete(connection.connectionId);
    const known = this.#connections.get(connection.connectionId);
    if (known?.connectedAt === connection.connectedAt) this.#leave(known);
  }

  #see(connection: Connection, readBeganAt: number): void {
    const known = this.#connections.get(connection.connectionId);
    if (known?.connectedAt === connection.connectedAt) {
      this.#change(known, connection);
      return;
    }
    if (known) this.#leave(known);
    if (this.#isForgotten(connection, readBeganAt)) return;
    if (connection.ttl * 1000 <= readBeganAt) {
      this.#expired.set(connection.connectionId, connection);
      this.emit('expired', connection);
      return;
    }
    this.#connections.set(connection.connectionId, connection);
    this.emit('joined', connection);
  }

  /** A new ttl is taken over silently. Any other change is announced: it changes who gets what. */
  #change(known: Connection, connection: Connection): void {
    if (hasSameAudience(known, connection)) (known as { ttl: number }).ttl = connection.ttl;
    else {
      const changed = keepRoomsSince(known, connection);
      this.#connections.set(connection.connectionId, changed);
      this.emit('changed', known, changed);
    }
  }

  #leave(connection: Connection): void {
    this.#connections.delete(connection.connectionId);
    this.emit('left', connection);
  }

  /**
   * Its item may stay for as long as nobody can remove it; a connection that is over never comes
   * back.
   */
  #isForgotten({ connectionId, connectedAt }: Connection, readBeganAt: number): boolean {
    if (this.#forgotten.get(connectionId)?.connectedAt !== connectedAt) return false;
    this.#forgotten.set(connectionId, {
      connectedAt,
      forgottenAt: Math.max(this.#clock.epochMs(), readBeganAt),
    });
    return true;
  }
}

export interface DirectoryEvents {
  joined: [Connection];
  left: [Connection];
  /** Its item was changed in place. */
  changed: [before: Connection, Connection];
  /** Was past its ttl already when it was read. */
  expired: [Connection];
  upToDate: [asOf: number];
  /** The table could not be read; it goes on with what is known. */
  readFailed: [];
}

/** Hears what becomes of connections; see DirectoryEvents. */
export interface DirectoryFollower {
  joined(connection: Connection): void;
  left(connection: Connection): void;
  changed(before: Connection, connection: Connection): void;
  expired(connection: Connection): void;
}

/** @returns what ends it */
export function follow(directory: ConnectionDirectory, follower: DirectoryFollower): () => void {
  const listeners = {
    joined: (connection: Connection) => follower.joined(connection),
    left: (connection: Connection) => follower.left(connection),
    expired: (connection: Connection) => follower.expired(connection),
    changed: (before: Connection, now: Connection) => follower.changed(before, now),
  };
  const { joined, left, expired, changed } = listeners;
  directory.on('joined', joined).on('left', left).on('expired', expired).on('changed', changed);
  return () => {
    directory.off('joined', joined).off('left', left);
    directory.off('expired', expired).off('changed', changed);
  };
}

/** Fills a directory, and keeps it up to date. */
export interface ConnectionFeed extends Service {
  /** Resolves once the directory knows all that was in the table, or the feed was stopped. */
  start(): Promise<void>;
}

/** The side of a directory that a feed fills. */
export interface DirectorySink {
  expire(now: number): void;
  /** @param readBeganAt epoch ms: a connection stored before this and not in `seen` is gone */
  replaceAll(seen: Iterable<Connection>, readBeganAt: number): void;
  put(connection: Connection): void;
  removed(connection: Connection): void;
  /** @param asOf epoch ms */
  upToDate(asOf: number): void;
  /** A round failed; another follows. */
  readFailed(): void;
}
