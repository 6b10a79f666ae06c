import { EventEmitter, once } from 'node:events';
import { WebSocket } from 'ws';

/** A frame as a client parses it; ids stay text. */
export interface Frame {
  readonly id?: string;
  readonly type: string;
  readonly data?: Record<string, unknown> | null;
  readonly old?: Record<string, unknown>;
  readonly truncated?: boolean;
  readonly timestamp?: number;
  readonly cursor?: string;
  readonly recovered?: boolean;
  /** The room of a PRESENCE frame. */
  readonly room?: string;
}

/** A real WebSocket client that keeps every frame and lets a test wait for one. */
export class TestClient {
  /** Events and READY in the order of arrival, batches unpacked. */
  readonly frames: Frame[] = [];
  /** As they came over the wire. */
  readonly messages: string[] = [];
  readonly socket: WebSocket;
  /** Called with each event or READY as it arrives. */
  onFrame: (frame: Frame) => void = () => undefined;
  readonly #ids = new Set<string>();
  readonly #arrived = new EventEmitter().setMaxListeners(0);

  constructor(url: string, protocols: string[] = []) {
    this.socket = new WebSocket(url, protocols);
    this.socket.on('error', () => undefined);
    this.socket.on('message', (data: Buffer) => {
      const text = data.toString();
      this.messages.push(text);
      const frame = JSON.parse(text) as Frame & { events?: Frame[] };
      for (const each of frame.type === 'BATCH' ? (frame.events ?? []) : [frame]) {
        this.frames.push(each);
        this.onFrame(each);
        if (each.id !== undefined) this.#ids.add(each.id);
      }
      this.#arrived.emit('frame');
    });
  }

  /**
   * Resolves with 101, the HTTP status that refused it, or 0 where the handshake failed otherwise.
   */
  get opened(): Promise<number> {
    return new Promise((resolve) => {
      if (this.socket.readyState === WebSocket.OPEN) resolve(101);
      this.socket.once('open', () => resolve(101));
      this.socket.once('error', () => resolve(0));
      this.socket.once('unexpected-response', (request, response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      });
    });
  }

  get events(): Frame[] {
    return this.frames.filter(({ id }) => id !== undefined);
  }

  get ids(): string[] {
    return this.events.map(({ id }) => id as string);
  }

  /** The first frame that matches, of those that came or will come. */
  async frame(matches: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(matches);
      if (found) return found;
      await once(this.#arrived, 'frame');
    }
  }

  ready(): Promise<Frame> {
    return this.frame(({ type }) => type === 'READY');
  }

  /** Resolves once so many different events came. */
  async received(count: number): Promise<Frame[]> {
    while (this.#ids.size < count) await once(this.#arrived, 'frame');
    return this.events;
  }

  async close(): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.close();
    await once(this.socket, 'close');
  }
}
