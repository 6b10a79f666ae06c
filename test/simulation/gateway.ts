import type { Connection } from '../../src/connections/connection.ts';
import type { Gateway, PostOutcome } from '../../src/pusher/gateway.ts';
import type { Payload } from '../../src/pusher/payload.ts';
import type { VirtualProcess, VirtualTime } from './virtual-time.ts';

/** As daemon.ts. */
const REQUEST_TIMEOUT_MS = 5000;

/** A WebSocket at the gateway. */
export interface Socket {
  readonly connectionId: string;
  /** The client is there. Where it is cut off without a word, the gateway does not know yet. */
  attached: boolean;
  receive(text: string): void;
  /** The gateway closed it. */
  closed(): void;
}

export type Trouble = 'throttled' | 'hangs' | 'fails';

/** API Gateway: posts with latency, and all that it does wrong. */
export class SimulatedGateway {
  readonly sockets = new Map<string, Socket>();
  /** The trouble of all posts. */
  trouble: Trouble | null = null;
  /** The trouble of posts to one connection. */
  readonly troubled = new Map<string, Trouble>();
  /** Called as a process starts a request. */
  requested: (process: VirtualProcess) => void = () => undefined;
  readonly #time: VirtualTime;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** As one relay's client of it. */
  forProcess(process: VirtualProcess): Gateway {
    return {
      knownWithinMs: 30_000,
      post: (id, payload) => this.#request(process, id, () => this.#deliver(id, payload)),
      close: (id) => this.#request(process, id, () => this.#close(id)),
    };
  }

  /** The gateway closes a socket, or notices that its client is gone. */
  drop(connectionId: string): void {
    const socket = this.sockets.get(connectionId);
    this.sockets.delete(connectionId);
    socket?.closed();
  }

  #request(
    process: VirtualProcess,
    connectionId: string,
    act: () => PostOutcome,
  ): Promise<PostOutcome> {
    const time = this.#time;
    this.requested(process);
    return new Promise((resolve) => {
      let over = false;
      const answer = (outcome: PostOutcome) => {
        if (!over) process.run(() => resolve(outcome));
        over = true;
      };
      process.after(REQUEST_TIMEOUT_MS, () => answer({ kind: 'failed', reason: 'timeout' }));
      time.after(time.between(1, 15), () => {
        // A killed process may have sent it or not.
        if (process.isKilled && time.chance(0.5)) return;
        const trouble = this.trouble ?? this.troubled.get(connectionId) ?? null;
        const outcome = this.#answer(trouble, act);
        if (outcome) time.after(time.between(1, 15), () => answer(outcome));
      });
    });
  }

  /** Where it fails, it may have done it all the same. @returns null where no answer comes */
  #answer(trouble: Trouble | null, act: () => PostOutcome): PostOutcome | null {
    if (trouble === 'throttled') return { kind: 'throttled' };
    if (trouble && this.#time.chance(0.3)) act();
    if (trouble === 'hangs') return null;
    if (trouble === 'fails') return { kind: 'failed', status: 500, reason: 'down' };
    return act();
  }

  #deliver(connectionId: string, payload: Payload): PostOutcome {
    const socket = this.sockets.get(connectionId);
    if (!socket) return { kind: 'gone' };
    if (socket.attached) socket.receive(payload.bytes.toString());
    return { kind: 'delivered' };
  }

  #close(connectionId: string): PostOutcome {
    if (!this.sockets.has(connectionId)) return { kind: 'gone' };
    this.drop(connectionId);
    return { kind: 'delivered' };
  }
}

/** The connections table. */
export class SimulatedTable {
  readonly items = new Map<string, Connection>();
  /** Scans fail. */
  fails = false;
}
