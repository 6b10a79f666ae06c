import { createHmac, hash } from 'node:crypto';
import type { Payload } from '../pusher/payload.ts';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const SERVICE = 'execute-api';
const CONTENT_TYPE = 'application/octet-stream';

/**
 * Signs posts by AWS Signature Version 4
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
 * Everything that posts have in common is computed once: the key a day, the date a second, the
 * payload's hash a frame; a post costs one SHA-256 and one HMAC. The SDK's signer, made for any
 * request, takes twice a whole post of ours (bench/README.md); test/gateway/post-signer.test.ts
 * compares the two over thousands of random requests.
 */
export class PostSigner {
  readonly #region: string;
  readonly #path: string;
  /** The path once more encoded, as it is signed. */
  readonly #canonicalPath: string;
  readonly #host: string;
  #second = Number.NaN;
  #date = '';
  #key: SigningKey | undefined;

  /** @param endpoint with the stage, without a trailing slash */
  constructor(endpoint: URL, region: string) {
    this.#region = region;
    this.#host = endpoint.host;
    const base = endpoint.pathname === '/' ? '' : endpoint.pathname;
    this.#path = `${base}/@connections/`;
    this.#canonicalPath = this.#path.split('/').map(encode).join('/');
  }

  /** @param nowMs epoch ms, by the clock of AWS */
  sign(connectionId: string, payload: Payload, identity: Identity, nowMs: number): SignedPost {
    const id = encode(connectionId);
    this.#turn(nowMs, identity);
    const { scope, credential, signedHeaders, secret } = this.#key as SigningKey;
    const token = identity.sessionToken;
    const canonical = `POST\n${this.#canonicalPath}${encodeURIComponent(id)}\n\ncontent-type:${CONTENT_TYPE}\nhost:${this.#host}\nx-amz-date:${this.#date}\n${
      token === undefined ? '' : `x-amz-security-token:${token}\n`
    }\n${signedHeaders}\n${payload.sha256}`;
    const toSign = `${ALGORITHM}\n${this.#date}\n${scope}\n${hash('sha256', canonical)}`;
    const signature = createHmac('sha256', secret).update(toSign).digest('hex');
    const headers = [
      'content-type',
      CONTENT_TYPE,
      'x-amz-date',
      this.#date,
      'authorization',
      `${ALGORITHM} Credential=${credential}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
    ];
    if (token !== undefined) headers.push('x-amz-security-token', token);
    return { path: this.#path + id, headers };
  }

  /** Brings date and key up to date. */
  #turn(nowMs: number, identity: Identity): void {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      // 20261121T063000Z
      this.#date = `${new Date(second * 1000).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
    }
    const day = this.#date.slice(0, 8);
    if (this.#key?.identity !== identity || this.#key.day !== day)
      this.#key = this.#keyOf(identity, day);
  }

  #keyOf(identity: Identity, day: string): SigningKey {
    const scope = `${day}/${this.#region}/${SERVICE}/aws4_request`;
    const secret = [day, this.#region, SERVICE, 'aws4_request'].reduce<Buffer | string>(
      (key, part) => createHmac('sha256', key).update(part).digest(),
      `AWS4${identity.secretAccessKey}`,
    );
    return {
      identity,
      day,
      scope,
      credential: `${identity.accessKeyId}/${scope}`,
      signedHeaders: `content-type;host;x-amz-date${identity.sessionToken === undefined ? '' : ';x-amz-security-token'}`,
      secret,
    };
  }
}

export interface Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface SignedPost {
  readonly path: string;
  /** Names and values in turn, but for `host`, which HTTP adds. */
  readonly headers: string[];
}

interface SigningKey {
  readonly identity: Identity;
  readonly day: string;
  readonly scope: string;
  readonly credential: string;
  readonly signedHeaders: string;
  readonly secret: Buffer | string;
}

/** RFC 3986: encodeURIComponent leaves five characters that SigV4 does not. */
function encode(text: string): string {
  const encoded = encodeURIComponent(text);
  if (!/[!'()*]/.test(encoded)) return encoded;
  return encoded.replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
