import { hash } from 'node:crypto';

/** One body of a post, shared by all the connections that it goes to. */
export class Payload {
  readonly bytes: Buffer;
  /** The events that it carries; empty for frames that are no events, such as READY. */
  readonly eventIds: readonly string[];
  /** A batch has several. */
  readonly frames: number;
  #sha256: string | undefined;

  constructor(bytes: Buffer, eventIds: readonly string[] = [], frames = 1) {
    this.bytes = bytes;
    this.eventIds = eventIds;
    this.frames = frames;
  }

  /** In hex; computed when first asked for. */
  get sha256(): string {
    this.#sha256 ??= hash('sha256', this.bytes);
    return this.#sha256;
  }
}
