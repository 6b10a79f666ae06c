import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { setTimeout } from 'node:timers/promises';
import { WebSocket } from 'undici';
import { aborted } from '../clock.ts';
import { SUBPROTOCOL } from '../protocol/handshake.ts';

/** Each step of the probe has this long. */
export const STEP_TIMEOUT_MS = 15_000;

interface ProbeFrame {
  readonly type?: string;
  readonly id?: string;
  /** Epoch ms. */
  readonly at: number;
}

interface Refusal {
  readonly why: string;
  readonly fix: string;
}

/** A client that keeps what it gets. */
export class ProbeClient {
  /** Resolves with why it was not let in, or null. */
  readonly opened: Promise<Refusal | null>;
  readonly #socket: WebSocket;
  readonly #frames: ProbeFrame[] = [];
  #closed: string | null = null;
  #changed: () => void = () => undefined;

  /** @throws for a URL or token that a WebSocket does not take */
  constructor({ url, token }: { url: string; token: string | null }, mark: string) {
    const target = new URL(url);
    target.searchParams.set('cursor', mark);
    this.#socket = new WebSocket(target, token ? [SUBPROTOCOL, token] : []);
    this.#socket.addEventListener('message', ({ data }) => this.#hear(String(data)));
    this.#socket.addEventListener('close', ({ code, reason }) =>
      this.#end(`closed with ${code} ${reason}`.trim()),
    );
    this.opened = new Promise((resolve) => {
      this.#socket.addEventListener('open', () => resolve(null));
      this.#socket.addEventListener('error', () => void refusalOf(target, token).then(resolve));
      void setTimeout(STEP_TIMEOUT_MS, SILENT, { ref: false }).then(resolve);
    });
  }

  /** Null when none came in time, or the connection was closed. */
  async frame(wanted: (frame: ProbeFrame) => boolean): Promise<ProbeFrame | null> {
    const deadline = AbortSignal.timeout(STEP_TIMEOUT_MS);
    for (;;) {
      const found = this.#frames.find(wanted);
      if (found) return found;
      if (this.#closed !== null || deadline.aborted) return null;
      const changed = new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
      await Promise.race([changed, aborted(deadline)]);
    }
  }

  /** Why what was awaited did not come. */
  silence(awaited: string): string {
    return this.#closed === null
      ? `no ${awaited} within ${STEP_TIMEOUT_MS / 1000} s`
      : `no ${awaited}: the connection was ${this.#closed}`;
  }

  close(): void {
    this.#socket.close();
  }

  #hear(data: string): void {
    try {
      this.#frames.push({ ...(JSON.parse(data) as object), at: Date.now() });
      this.#changed();
    } catch {
      this.#end('answered with what is no frame of Rowcast');
    }
  }

  #end(how: string): void {
    this.#closed ??= how;
    this.#changed();
  }
}

const SILENT: Refusal = {
  why: `no answer to the handshake within ${STEP_TIMEOUT_MS / 1000} s`,
  fix: 'host and port of --url: something listens there that does not speak WebSocket, or hangs',
};

/** A WebSocket does not say why it was refused: the same handshake again, by hand. */
function refusalOf(url: URL, token: string | null): Promise<Refusal> {
  const secure = url.protocol === 'wss:' || url.protocol === 'https:';
  return new Promise((resolve) => {
    const handshake = (secure ? secureRequest : request)(
      Object.assign(new URL(url), { protocol: secure ? 'https:' : 'http:' }),
      {
        timeout: STEP_TIMEOUT_MS,
        headers: {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'cm93Y2FzdC1kb2N0b3ItMQ==',
          ...(token ? { 'sec-websocket-protocol': `${SUBPROTOCOL}, ${token}` } : {}),
        },
      },
    );
    handshake.on('response', async (response) => {
      const body = (await response.setEncoding('utf8').toArray()).join('').trim();
      const said = /^\s*</.test(body)
        ? 'a web page'
        : (body.split('\n')[0] as string).slice(0, 200);
      resolve({
        why: `refused with ${response.statusCode}: ${said}`,
        fix: adviceOn(response.statusCode),
      });
    });
    handshake.on('upgrade', (_, socket) => {
      socket.destroy();
      resolve({
        why: 'the first handshake failed, and a second one did not',
        fix: 'try again: an unsteady network, or a proxy',
      });
    });
    handshake.on('timeout', () =>
      handshake.destroy(new Error(`no answer within ${STEP_TIMEOUT_MS / 1000} s`)),
    );
    handshake.on('error', (error: NodeJS.ErrnoException) =>
      resolve(
        error.code === 'EPROTO'
          ? {
              why: 'what listens there does not speak TLS',
              fix: 'ws:// in --url for a gateway on this machine',
            }
          : {
              why: `cannot be reached: ${error.message}`,
              fix: 'host and port of --url, DNS, firewalls',
            },
      ),
    );
    handshake.end();
  });
}

function adviceOn(status = 0): string {
  if (status === 401)
    return 'send a token that is valid, by --token: docs/connect.md says what it needs';
  if (status === 403)
    return "the stage of --url, where it says Forbidden (API Gateway's answer to one that is not there); else what the token may";
  if (status >= 500) return 'the $connect Lambda fails: its log says why';
  return 'this is no WebSocket API: is --url that of the stack (WebSocketUrl)?';
}
