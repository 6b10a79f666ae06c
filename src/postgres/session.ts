import type { Socket } from 'node:net';
import pg from 'pg';
import { connectionOptions, type Database, serverOf } from './servers.ts';

/**
 * One connection to Postgres that outlives many statements; it runs them one at a time, in order.
 */
export interface SqlSession {
  /** Aborts, with the cause as its reason, when the connection is over. */
  readonly ended: AbortSignal;
  /**
   * @param name keeps the statement prepared under that name
   * @param timeoutMs a statement that takes longer, once it is its turn, ends the session
   * @throws the error of the statement, or the reason why the session ended
   */
  query<Row extends pg.QueryResultRow>(
    text: string,
    values?: unknown[],
    name?: string,
    timeoutMs?: number,
  ): Promise<Row[]>;
  /** Ends the connection and with it its locks. */
  close(): Promise<void>;
  /** Ends the connection without a word to the server: it may be half-open. */
  destroy(): void;
}

/**
 * One direct connection to Postgres that outlives many statements: locks, cursors and LISTEN live
 * and die with it. Statements run one at a time, in the order they were asked for. When one takes
 * longer than its time-out the socket is destroyed, since a half-open socket answers nothing and
 * reports nothing (`client.end()` would wait for it too). A session that ended is never used again.
 */
export class Session implements SqlSession {
  readonly #client: pg.Client;
  readonly #queryTimeoutMs: number;
  readonly #ended = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(client: pg.Client, queryTimeoutMs: number) {
    this.#client = client;
    this.#queryTimeoutMs = queryTimeoutMs;
    // Both happen on a lost connection; without an error handler the process would die of it.
    client.on('error', (error) => this.#end(error));
    client.on('end', () => this.#end(new Error('the Postgres connection ended')));
  }

  /** @throws what pg throws when the database cannot be reached or refuses */
  static async open(options: SessionOptions): Promise<Session> {
    const server = await serverOf(options.database);
    // Postgres gives up before this side does, and the session goes on.
    const statementTimeoutMs = Math.round(options.queryTimeoutMs * 0.7);
    const client = new pg.Client({
      ...connectionOptions(server, options.applicationName, statementTimeoutMs),
      connectionTimeoutMillis: options.queryTimeoutMs,
    });
    const session = new Session(client, options.queryTimeoutMs);
    try {
      await client.connect();
    } catch (error) {
      // Where no password could be had, pg leaves its socket open.
      session.destroy();
      throw error;
    }
    return session;
  }

  /** Aborts, with the cause as its reason, when the connection is over. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** @throws the error of the statement, or the reason why the session ended */
  query<Row extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
    name?: string,
    timeoutMs = this.#queryTimeoutMs,
  ): Promise<Row[]> {
    return this.#inTurn<Row>({ text, values, ...(name ? { name } : {}) }, timeoutMs);
  }

  /** Ends the connection at once, without a word to the server: for one that may be half-open. */
  destroy(): void {
    this.#end(new Error('the session was given up'));
  }

  /** Ends the connection and with it its locks. */
  async close(): Promise<void> {
    if (!this.#ended.signal.aborted)
      await Promise.race([this.#client.end(), this.#deadline('ending the session')]).catch(
        () => undefined,
      );
    this.#end(new Error('the session was closed'));
  }

  #inTurn<Row extends pg.QueryResultRow>(query: pg.QueryConfig, timeoutMs: number): Promise<Row[]> {
    const result = this.#last.then(() => this.#run<Row>(query, timeoutMs));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #run<Row extends pg.QueryResultRow>(
    query: pg.QueryConfig,
    timeoutMs: number,
  ): Promise<Row[]> {
    this.#ended.signal.throwIfAborted();
    let cancel: () => void = () => undefined;
    const deadline = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => {
        const error = new Error(`Postgres did not answer within ${timeoutMs} ms`);
        this.#end(error);
        reject(error);
      }, timeoutMs);
      cancel = () => clearTimeout(timer);
    });
    try {
      return (await Promise.race([this.#client.query<Row>(query), deadline])).rows;
    } finally {
      cancel();
    }
  }

  #deadline(step: string): Promise<never> {
    return new Promise((_, reject) => {
      setTimeout(
        () => reject(new Error(`${step} took longer than ${this.#queryTimeoutMs} ms`)),
        this.#queryTimeoutMs,
      ).unref();
    });
  }

  #end(reason: Error): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    // pg keeps its socket under `connection.stream`; there is no public way to destroy it.
    (this.#client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }
}

export interface SessionOptions {
  readonly database: Database;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  /** No statement of this session may take longer. */
  readonly queryTimeoutMs: number;
}
