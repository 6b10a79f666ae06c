import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs, pause } from '../backoff.ts';
import type { Connection } from '../connections/connection.ts';
import { LimitedLog } from '../limited-log.ts';
import type { Gateway } from '../pusher/gateway.ts';
import type { Posting } from './posting.ts';

const RETRY: Backoff = { baseMs: 200, capMs: 5000 };

/**
 * Closes connections at the gateway, however long that takes: a client whose lane is gone and whose socket
 * is open would be deaf and not know it.
 */
export class Closing {
  readonly #log: LimitedLog;
  readonly #gateway: Gateway;
  readonly #posting: Posting;
  /** By id and `connectedAt`. */
  readonly #connections = new Set<string>();
  readonly #abort = new AbortController();

  constructor(deps: { gateway: Gateway; posting: Posting; log: Logger }) {
    this.#log = new LimitedLog(deps.log);
    this.#gateway = deps.gateway;
    this.#posting = deps.posting;
    // Each connection that is being closed may wait on it.
    setMaxListeners(0, this.#abort.signal);
  }

  /** @returns false where this was stopped first, or is under way already */
  async close({ connectionId, connectedAt }: Connection): Promise<boolean> {
    const incarnation = `${connectionId} ${connectedAt}`;
    if (this.#connections.has(incarnation)) return false;
    this.#connections.add(incarnation);
    const { signal } = this.#abort;
    let closed = false;
    for (let failures = 1; !closed && (await this.#posting.turn(signal)); failures++) {
      const outcome = await this.#gateway.close(connectionId);
      closed =
        outcome.kind === 'delivered' || outcome.kind === 'gone' || outcome.kind === 'rejected';
      if (closed) break;
      this.#log.line(
        'warn',
        'close_failed',
        { event: 'close_failed', connectionId, failures, outcome },
        'a connection that is to be closed is still open; it is tried again, and a relay that takes over knows what it lacks',
      );
      await pause(backoffDelayMs(RETRY, failures), signal);
    }
    this.#connections.delete(incarnation);
    return closed;
  }

  /** No request is started any more. */
  stop(): void {
    this.#abort.abort();
  }
}
