import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import type { Pool } from 'pg';
import pg from 'pg';
import * as v from 'valibot';
import type { Connection } from '../connections/connection.ts';
import { errorText } from '../error-text.ts';
import type { AuthSettings } from '../lambdas/settings.ts';
import { refusalOf } from '../request-guard.ts';
import type { Service } from '../service.ts';
import { answerApi } from './page-api.ts';
import { type Asset, pageAssets } from './page-assets.ts';

const MAX_BODY_BYTES = 200_000;
const TOKEN_LIFE = '1h';
const TOO_LARGE = Symbol('too large');

/**
 * The page of `rowcast dev`: its files, what it needs to connect (`/api/config`, and in place of an
 * application's own sign-in `/api/token`), an API on the watched tables (page-api.ts), the way of
 * an event (`/api/trace/ID`), and who is connected, as server-sent events (`/api/connections`). For
 * this machine and its own page only.
 */
export class PageServer implements Service {
  #starting: Promise<void> | undefined;
  #stopped = false;
  #stopping: Promise<void> | undefined;
  readonly #options: PageOptions;
  readonly #database: Pool;
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });
  #assets: ReadonlyMap<string, Asset> = new Map();
  url = '';

  constructor(options: PageOptions) {
    this.#options = options;
    this.#database = new pg.Pool({ connectionString: options.databaseUrl, max: 4 });
    this.#database.on('error', () => undefined);
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    if (this.#stopped) return;
    this.#assets = await pageAssets();
    this.#server.listen(this.#options.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting?.catch(() => undefined);
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await Promise.all([closed, this.#database.end()]);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(
      request.url ?? '/',
      'http://page.invalid',
    );
    const method = request.method ?? 'GET';
    const refusal = refusalOf(request.headers, 'own page') ?? mistyped(request, method);
    if (refusal) return send(response, 403, 'text/plain', refusal);
    if (path === '/api/config')
      return send(response, 200, JSON_TYPE, JSON.stringify(this.#config()));
    if (path === '/api/connections') return this.#tellConnections(response);
    const traced = /^\/api\/trace\/(\d{1,19})$/.exec(path)?.[1];
    if (traced) return this.#trace(traced, response);
    if (path.startsWith('/api/')) {
      const body = await bodyOf(request);
      if (body === TOO_LARGE) return send(response, 413, JSON_TYPE, '{"error":"more than 200 kB"}');
      if (path === '/api/token' && method === 'POST') return this.#token(body, response);
      const answer = await answerApi(this.#database, { method, path, query, body });
      return send(response, answer.status, JSON_TYPE, answer.json);
    }
    const asset = this.#assets.get(path === '/' ? 'index.html' : path.slice(1));
    if (!asset) return send(response, 404, 'text/plain', 'not found');
    send(response, 200, asset.type, asset.content);
  }

  #config() {
    const { auth, websocketUrl, databaseUrl } = this.#options;
    return {
      websocketUrl,
      databaseUrl,
      auth: auth.mode === 'none' ? 'none' : 'secret' in auth.key ? 'secret' : 'jwks',
    };
  }

  async #trace(eventId: string, response: ServerResponse): Promise<void> {
    try {
      send(response, 200, 'text/plain', await this.#options.trace(eventId));
    } catch (error) {
      send(response, 503, 'text/plain', errorText(error));
    }
  }

  /** Now and after each change. The browser asks again when the answer ends. */
  #tellConnections(response: ServerResponse): void {
    const { list, onChange } = this.#options.connections;
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' });
    const tell = () =>
      void list().then(
        (connections) => response.write(`data: ${JSON.stringify(connections)}\n\n`),
        () => response.destroy(),
      );
    const stop = onChange(tell);
    response.on('close', stop);
    tell();
  }

  /**
   * As an application's sign-in would, for any user: this is a machine for development.
   */
  async #token(body: unknown, response: ServerResponse): Promise<void> {
    const { auth } = this.#options;
    if (auth.mode === 'none' || !('secret' in auth.key))
      return send(response, 404, 'text/plain', 'tokens are made here only where JWT_SECRET is set');
    const asked = v.safeParse(TOKEN, body);
    if (!asked.success)
      return send(response, 400, 'text/plain', 'send {"userId":"…","rooms":[],"roles":[]}');
    const { userId, rooms, roles } = asked.output;
    const token = new SignJWT({ [auth.rolesClaim]: roles, [auth.roomsClaim]: rooms })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(userId || 'anonymous')
      .setIssuedAt()
      .setExpirationTime(TOKEN_LIFE);
    if (auth.issuer) token.setIssuer(auth.issuer);
    if (auth.audience) token.setAudience(auth.audience);
    send(response, 200, 'text/plain', await token.sign(auth.key.secret));
  }
}

const JSON_TYPE = 'application/json';

/** By POST: what a GET answers could be read as a script by the page of any site. */
const TOKEN = v.object({
  userId: v.string(),
  rooms: v.array(v.string()),
  roles: v.array(v.string()),
});

/** A form of another site's can send text, but no JSON. */
function mistyped({ headers }: IncomingMessage, method: string): string | null {
  const writes = method === 'POST' || method === 'PATCH';
  return writes && !headers['content-type']?.startsWith(JSON_TYPE) ? 'send application/json' : null;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Read to its end, so that the answer is read too.
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > MAX_BODY_BYTES) return TOO_LARGE;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  content: string | Uint8Array,
): void {
  response.writeHead(status, { ...HEADERS, 'content-type': type });
  response.end(content);
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export interface PageOptions {
  readonly port: number;
  readonly websocketUrl: string;
  readonly databaseUrl: string;
  readonly auth: AuthSettings;
  /** The way of an event, as `rowcast trace` prints it. */
  trace(eventId: string): Promise<string>;
  readonly connections: {
    list(): Promise<readonly Connection[]>;
    /** @returns stops it */
    onChange(listener: () => void): () => void;
  };
}
