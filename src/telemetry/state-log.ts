import type { Logger } from 'pino';
import { LimitedLog } from '../limited-log.ts';
import type { Lag } from '../log/log-lag.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { Relay } from '../relay/relay.ts';
import { type Remaining, rateOf } from './pace.ts';

/** A backlog of more is worth a line each time it is measured. */
const BACKLOG_EVENTS = 5000;

/**
 * One log line for each change of the relay's state, with its cause and what follows from it; no
 * more than one a minute of each kind. Roles are logged where they are assumed (relay.ts), with
 * what only that place knows.
 */
export class StateLog {
  readonly #log: Logger;
  readonly #limited: LimitedLog;
  readonly #postsPerSecondLimit: number;
  #backlog: Remaining | undefined;

  constructor(deps: { relay: Relay; log: Logger; postsPerSecondLimit: number }) {
    this.#log = deps.log;
    this.#limited = new LimitedLog(deps.log);
    this.#postsPerSecondLimit = deps.postsPerSecondLimit;
    deps.relay
      .on('asleep', () =>
        this.#info('doorbell', 'asleep', 'nothing left to read; the next row rings'),
      )
      .on('awake', () =>
        this.#info('doorbell', 'awake', 'rung, or rows were found by the slow poll; reading'),
      )
      .on('gateway', (state, outcome) => this.#gateway(state, outcome))
      .on('paced', (postsPerSecond) => this.#paced(postsPerSecond))
      .on('posted', (connection, outcome) => this.#posted(connection.connectionId, outcome))
      .on('behind', ({ connectionId }) =>
        this.#limited.log(
          'warn',
          'behind',
          { event: 'behind', connectionId },
          'a connection cannot keep up with the others; nobody waits for it, and it goes on at its own pace',
        ),
      )
      .on('impaired', (eventId, problem, sentAs) =>
        this.#limited.log(
          'error',
          `impaired ${sentAs}`,
          // The rest may quote the row.
          { event: 'event_impaired', eventId, sentAs, reason: problem.split(': ')[0] },
          sentAs === 'nobody'
            ? 'an event reaches nobody, because it could not be captured or read; rowcast trace says why'
            : 'an event could not be captured or read whole; rowcast trace says why',
        ),
      )
      .on('lag', (lag) => this.#lag(lag))
      .on('role', () => {
        this.#backlog = undefined;
      });
  }

  #info(cause: string, event: string, message: string): void {
    this.#limited.log('info', cause, { event }, message);
  }

  /**
   * Never limited: an outage that comes and goes is worth each line, and a line costs five
   * failures.
   */
  #gateway(state: 'down' | 'up', outcome: PostOutcome): void {
    if (state === 'up')
      this.#log.info({ event: 'gateway_up' }, 'the gateway answers again; delivering what waited');
    else
      this.#log.error(
        { event: 'gateway_down', outcome },
        'the gateway does not answer; the cursor stays, and one post at a time probes it',
      );
  }

  #paced(rate: number): void {
    const postsPerSecond = Math.round(rate);
    if (rate < this.#postsPerSecondLimit) {
      const fields = { event: 'throttled', postsPerSecond, limit: this.#postsPerSecondLimit };
      this.#limited.log(
        'warn',
        'pace',
        fields,
        'API Gateway throttles many connections; posting slower. If it lasts, lower POST_RPS_LIMIT or ask AWS for a higher quota',
      );
    } else
      this.#info(
        'pace',
        'unthrottled',
        'nobody is throttled any more; posting at POST_RPS_LIMIT again',
      );
  }

  /**
   * A client that is gone or slow is no failure; what the gateway refuses, or fails to do, is
   * logged with its request id.
   */
  #posted(connectionId: string, outcome: PostOutcome): void {
    if (outcome.kind !== 'failed') return;
    const { status, reason } = outcome;
    const fields = {
      event: 'post_failed',
      connectionId,
      ...(status === undefined ? {} : { status }),
      reason,
    };
    const cause = `post_failed ${status ?? reason.split(':')[0]}`;
    this.#limited.log('warn', cause, fields, 'a post failed; its connection is tried again');
  }

  #lag({ backlog: events }: Lag): void {
    const before = this.#backlog;
    const atMs = performance.now();
    if (events < BACKLOG_EVENTS) {
      this.#backlog = undefined;
      if (before) this.#log.info({ event: 'caught_up', waiting: events }, 'caught up with the log');
      return;
    }
    this.#backlog = { left: events, atMs };
    const pace = before ? rateOf(before, this.#backlog) : {};
    this.#log.info(
      { event: 'catching_up', waiting: events, ...pace },
      'a backlog waits, or is being delivered',
    );
  }
}
