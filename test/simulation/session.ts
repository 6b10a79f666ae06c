import { EventEmitter } from 'node:events';
import type {
  NotificationListenerEvents,
  Notifications,
} from '../../src/listener/notification-listener.ts';
import type { SqlSession } from '../../src/postgres/session.ts';
import type { Backend, SimulatedPostgres } from './postgres.ts';
import { STATEMENTS } from './statements.ts';
import type { VirtualProcess, VirtualTime } from './virtual-time.ts';

/** As daemon/relay-database.ts. */
const QUERY_TIMEOUT_MS = 15_000;
/** A process that was killed: its kernel closes the sockets. */
const CLOSED_WITHIN_MS = 50;

export interface Network {
  readonly time: VirtualTime;
  readonly postgres: SimulatedPostgres;
  /** Statements reach no server, and nobody hears that the connection is lost. */
  isPartitioned(process: VirtualProcess): boolean;
}

/**
 * One connection of a process to the simulated server: statements in order, each with its latency.
 */
export class SimulatedSession implements SqlSession {
  readonly #network: Network;
  readonly #process: VirtualProcess;
  readonly #ended = new AbortController();
  readonly #backend: Backend;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(network: Network, process: VirtualProcess) {
    this.#network = network;
    this.#process = process;
    this.#backend = {
      owner: process,
      alive: true,
      end: () => this.#later(() => this.#end(new Error('terminating connection'))),
    };
    network.postgres.backends.add(this.#backend);
  }

  /** Takes some time, and fails while the server cannot be reached. */
  static open(network: Network, process: VirtualProcess): Promise<SimulatedSession> {
    return new Promise((resolve, reject) => {
      network.time.after(network.time.between(1, 20), () =>
        process.run(() => {
          if (network.isPartitioned(process)) reject(new Error('connect ETIMEDOUT'));
          else resolve(new SimulatedSession(network, process));
        }),
      );
    });
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  query<Answered>(
    _: string,
    values: unknown[] = [],
    name = '',
    timeoutMs = QUERY_TIMEOUT_MS,
  ): Promise<Answered[]> {
    return this.#inTurn(name, values, timeoutMs) as Promise<Answered[]>;
  }

  async close(): Promise<void> {
    this.destroy();
  }

  destroy(): void {
    this.#end(new Error('the session was closed'));
    this.closeSoon();
  }

  /** The socket is closed: the server notices, if the network lets it. */
  closeSoon(): void {
    const { time, postgres } = this.#network;
    if (this.#network.isPartitioned(this.#process)) return;
    time.after(time.between(1, CLOSED_WITHIN_MS), () => postgres.endBackend(this.#backend));
  }

  #inTurn(name: string, values: unknown[], timeoutMs: number): Promise<unknown[]> {
    const answered = this.#last.then(() => this.#run(name, values, timeoutMs));
    this.#last = answered.catch(() => undefined);
    return answered;
  }

  #run(name: string, values: unknown[], timeoutMs: number): Promise<unknown[]> {
    this.#ended.signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const timer = this.#process.after(timeoutMs, () => {
        this.#end(new Error(`Postgres did not answer within ${timeoutMs} ms`));
      });
      const lost = () => {
        timer.cancel();
        reject(this.#ended.signal.reason);
      };
      this.#ended.signal.addEventListener('abort', lost, { once: true });
      const answer = (settle: () => void) => {
        if (this.#ended.signal.aborted) return;
        timer.cancel();
        this.#ended.signal.removeEventListener('abort', lost);
        settle();
      };
      if (this.#network.isPartitioned(this.#process)) return;
      this.#network.time.after(this.#latencyMs(), () => {
        // A killed process may have sent it or not.
        if (!this.#backend.alive || (this.#process.isKilled && this.#network.time.chance(0.5)))
          return;
        let settle: () => void;
        try {
          const rows = this.#execute(name, values);
          settle = () => resolve(rows);
        } catch (error) {
          settle = () => reject(error as Error);
        }
        this.#later(() => answer(settle));
      });
    });
  }

  #execute(name: string, values: unknown[]): unknown[] {
    const statement = STATEMENTS[name];
    if (!statement) throw new Error(`the simulation knows no statement named ${name}`);
    return statement(this.#network.postgres, values, this.#backend);
  }

  /** Over the network, which may lose it. */
  #later(act: () => void): void {
    this.#network.time.after(this.#latencyMs(), () => {
      if (!this.#network.isPartitioned(this.#process)) this.#process.run(act);
    });
  }

  #latencyMs(): number {
    const { time } = this.#network;
    return time.chance(0.03) ? time.between(100, 800) : time.between(1, 12);
  }

  #end(reason: Error): void {
    if (!this.#ended.signal.aborted) this.#ended.abort(reason);
  }
}

/** Hears the doorbell, and is deaf for a while now and then. */
export class SimulatedNotifications
  extends EventEmitter<NotificationListenerEvents>
  implements Notifications
{
  readonly #network: Network;
  readonly #process: VirtualProcess;
  #listening = false;

  constructor(network: Network, process: VirtualProcess) {
    super();
    this.#network = network;
    this.#process = process;
  }

  get listening(): boolean {
    return this.#listening;
  }

  async start(): Promise<void> {
    this.#network.postgres.listeners.add(this.#heard);
    this.#network.time.after(20, () => this.#process.run(() => this.#listen()));
  }

  async stop(): Promise<void> {
    this.#network.postgres.listeners.delete(this.#heard);
    this.#listening = false;
  }

  /** Its connection is lost, and made again after a time. */
  loseFor(ms: number): void {
    if (!this.#listening) return;
    this.#listening = false;
    this.#process.run(() => this.emit('deaf'));
    this.#network.time.after(ms, () => this.#process.run(() => this.#listen()));
  }

  #listen(): void {
    if (this.#listening || !this.#network.postgres.listeners.has(this.#heard)) return;
    this.#listening = true;
    this.emit('listening');
  }

  readonly #heard = (channel: 'event' | 'control') => {
    if (!this.#listening || this.#network.isPartitioned(this.#process)) return;
    const { time } = this.#network;
    time.after(time.between(1, 10), () =>
      this.#process.run(() => {
        if (!this.#listening) return;
        if (channel === 'control') this.emit('control');
        else this.emit('notification', 'rowcast_messages');
      }),
    );
  };
}
