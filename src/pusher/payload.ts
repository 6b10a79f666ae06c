import { hash } from 'node:crypto';

/** What is posted, to however many connections. */
export class Payload {
  readonly bytes: Buffer;
  #sha256: string | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** In hex; computed when first asked for. */
  get sha256(): string {
    this.#sha256 ??= hash('sha256', this.bytes);
    return this.#sha256;
  }
}
