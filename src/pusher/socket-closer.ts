import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from '../backoff.ts';
import { type Clock, pause } from '../clock.ts';
import type { Connection } from '../connections/connection.ts';
import { LimitedLog } from '../limited-log.ts';
import type { Gateway } from './gateway.ts';
import type { PostScheduler } from './post-scheduler.ts';

const RETRY: Backoff = { baseMs: 200, capMs: 5000 };

/**
 * Closes sockets at the gateway, however long that takes. A client whose lane is gone and whose
 * socket is open would be deaf and not know it.
 */
export class SocketCloser {
  readonly #log: LimitedLog;
  readonly #clock: Clock;
  readonly #gateway: Gateway;
  readonly #scheduler: PostScheduler;
  /** By id and `connectedAt`. */
  readonly #connections = new Set<string>();
  readonly #abort = new AbortController();

  constructor(deps: { gateway: Gateway; scheduler: PostScheduler; log: Logger; clock: Clock }) {
    this.#log = new LimitedLog(deps.log, deps.clock);
    this.#clock = deps.clock;
    this.#gateway = deps.gateway;
    this.#scheduler = deps.scheduler;
    // Each connection that is being closed may wait on it.
    setMaxListeners(0, this.#abort.signal);
  }

  /** @returns false where this was stopped first, or is under way already */
  async close(connection: Connection): Promise<boolean> {
    const { connectionId, connectedAt } = connection;
    const incarnation = `${connectionId} ${connectedAt}`;
    if (this.#connections.has(incarnation)) return false;
    this.#connections.add(incarnation);
    const { signal } = this.#abort;
    const beganAt = this.#clock.uptimeMs();
    let closed = false;
    for (let failures = 1; !closed && (await this.#scheduler.turn(signal)); failures++) {
      // Judged when it is asked: an answer may wait in a frozen process.
      const isKnown = this.#isKnown(connection, beganAt);
      const outcome = await this.#gateway.close(connectionId);
      if (signal.aborted) break;
      closed =
        outcome.kind === 'delivered' ||
        outcome.kind === 'rejected' ||
        (outcome.kind === 'gone' && isKnown);
      if (closed) break;
      if (outcome.kind !== 'gone')
        this.#log.log(
          'warn',
          'close_failed',
          { event: 'close_failed', connectionId, failures, outcome },
          'cannot close a connection; retrying, and a relay that takes over knows what to deliver to it',
        );
      await pause(this.#clock, backoffDelayMs(this.#clock, RETRY, failures), signal);
    }
    this.#connections.delete(incarnation);
    return closed;
  }

  /** The gateway would know a socket that is open. Before that it is still to be opened. */
  #isKnown({ connectedAt }: Connection, beganAt: number): boolean {
    const ageMs = Math.max(this.#clock.epochMs() - connectedAt, this.#clock.uptimeMs() - beganAt);
    return ageMs >= this.#gateway.knownWithinMs;
  }

  /** No request is started any more. */
  stop(): void {
    this.#abort.abort();
  }
}
