import { type Dispatcher, Pool } from 'undici';
import { errorText } from '../error-text.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { Payload } from '../pusher/payload.ts';
import type { Credentials } from './credentials.ts';
import { outcomeOf } from './outcome-of.ts';
import { type Identity, PostSigner } from './post-signer.ts';

/**
 * An idle socket is kept this long: a handshake costs several round trips, and API Gateway closes
 * idle sockets later than this. A post that meets a socket as it is closed fails, and its lane
 * tries again.
 */
const KEEP_ALIVE_MS = 20_000;
/** An error's body is cut to this for its reason. */
const MAX_REASON_LENGTH = 300;
/**
 * A clock that is off by this much is set by the gateway's: it refuses signatures that are off by 5
 * minutes.
 */
const CLOCK_OFF_MS = 60_000;

/**
 * POST /@connections/{id}, the hot path: undici and a signer of our own take a tenth of the CPU of
 * the SDK's command (bench/README.md). Never retries: only the lanes know what else waits.
 */
export class PostClient {
  readonly #pool: Pool;
  readonly #signer: PostSigner;
  readonly #credentials: Credentials;
  readonly #requestTimeoutMs: number;
  /** How far the gateway's clock is ahead of ours. */
  #clockOffsetMs = 0;

  constructor(options: PostClientOptions) {
    const endpoint = new URL(options.endpoint);
    this.#credentials = options.credentials;
    this.#signer = new PostSigner(endpoint, options.region);
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#pool = new Pool(endpoint.origin, {
      connections: options.maxSockets,
      pipelining: 1,
      connect: { timeout: options.connectTimeoutMs },
      bodyTimeout: options.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
    });
  }

  post(connectionId: string, payload: Payload): Promise<PostOutcome> {
    const identity = this.#credentials.get(Date.now());
    if (!(identity instanceof Promise)) return this.#send(connectionId, payload, identity);
    return identity.then(
      (fetched) => this.#send(connectionId, payload, fetched),
      (error: unknown) => ({ kind: 'failed', reason: `no credentials: ${errorText(error)}` }),
    );
  }

  /** Ends the idle sockets, and the others when they are done. */
  destroy(): void {
    void this.#pool.close();
  }

  /**
   * A post that cannot even be made is refused: whatever an id or a payload is, the others' posts
   * go on.
   */
  #send(connectionId: string, payload: Payload, identity: Identity): Promise<PostOutcome> {
    return new Promise<PostOutcome>((resolve) => {
      const { path, headers } = this.#signer.sign(
        connectionId,
        payload,
        identity,
        Date.now() + this.#clockOffsetMs,
      );
      this.#pool.dispatch(
        {
          method: 'POST',
          path,
          headers,
          body: payload.bytes,
          headersTimeout: this.#requestTimeoutMs,
        },
        new Answer(resolve, this.#refused, this.#requestTimeoutMs * 2),
      );
    }).catch((error: unknown) => ({
      kind: 'rejected',
      status: 0,
      reason: `cannot be posted: ${errorText(error)}`,
    }));
  }

  /**
   * After a 403 (the clock is off, or credentials were withdrawn) the next post is signed with what
   * this one learned.
   */
  readonly #refused = (headers: Headers): void => {
    this.#credentials.renew(Date.now());
    const theirs = Date.parse(String(headers.date));
    if (Math.abs(theirs - Date.now() - this.#clockOffsetMs) > CLOCK_OFF_MS)
      this.#clockOffsetMs = theirs - Date.now();
  };
}

export interface PostClientOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: Credentials;
  readonly maxSockets: number;
  readonly connectTimeoutMs: number;
  /** Until the answer begins, and again until it ends. */
  readonly requestTimeoutMs: number;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** One post's answer; the body is read to the end, so that its socket can be used again. */
class Answer implements Dispatcher.DispatchHandler {
  readonly #resolve: (outcome: PostOutcome) => void;
  readonly #refused: (headers: Headers) => void;
  readonly #deadlineMs: number;
  readonly #startedAt = performance.now();
  #status = 0;
  #headers: Headers = {};
  #body = '';

  constructor(
    resolve: (outcome: PostOutcome) => void,
    refused: (headers: Headers) => void,
    deadlineMs: number,
  ) {
    this.#resolve = resolve;
    this.#refused = refused;
    this.#deadlineMs = deadlineMs;
  }

  onRequestStart(): void {}

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Headers): void {
    this.#status = status;
    this.#headers = headers;
  }

  /** The time-outs are of silence: an answer of a byte a second would go on for ever. */
  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (performance.now() - this.#startedAt > this.#deadlineMs)
      controller.abort(new Error(`no whole answer within ${this.#deadlineMs} ms`));
    else if (this.#status >= 300 && this.#body.length < MAX_REASON_LENGTH)
      this.#body += chunk.toString();
  }

  onResponseEnd(): void {
    if (this.#status === 403) this.#refused(this.#headers);
    this.#resolve(outcomeOf(this.#status, () => this.#reason()));
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.#resolve({
      kind: 'failed',
      reason: `${(error as NodeJS.ErrnoException).code ?? error.name}: ${error.message}`,
    });
  }

  /** `ForbiddenException: {"message":…} (request 5f2…)` */
  #reason(): string {
    const { 'x-amzn-errortype': name, 'x-amzn-requestid': id } = this.#headers;
    const text = `${name ?? `HTTP ${this.#status}`}: ${this.#body.slice(0, MAX_REASON_LENGTH)}`;
    return id === undefined ? text : `${text} (request ${id})`;
  }
}
