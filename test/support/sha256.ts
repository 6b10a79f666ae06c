import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';

/** The SDK's signer takes its hash as a class. */
export class Sha256 {
  #hash: Hash | Hmac;
  readonly #secret: string | Buffer | undefined;
  constructor(secret?: string | Buffer) {
    this.#secret = secret;
    this.#hash = this.#make();
  }
  #make(): Hash | Hmac {
    return this.#secret === undefined ? createHash('sha256') : createHmac('sha256', this.#secret);
  }
  update(data: string | Buffer): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    this.#hash = this.#make();
  }
}
