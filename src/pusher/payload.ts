import { createHash } from 'node:crypto';

/** What is posted, to however many connections. */
export class Payload {
  readonly bytes: Buffer;
  #sha256: string | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** In hex; computed when first asked for. */
  get sha256(): string {
    this.#sha256 ??= createHash('sha256').update(this.bytes).digest('hex');
    return this.#sha256;
  }
}
