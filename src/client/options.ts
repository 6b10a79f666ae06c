import type { TruncatedMessage } from './message.ts';

export interface ConnectOptions<Map extends object = Record<string, unknown>> {
  /** `wss://…/stage`, as the stack's WebSocketUrl says; what its query holds is kept. */
  readonly url: string;
  /**
   * Called for each connect, so that a token is never older than its connection. `refused`: the one
   * before was not accepted; do not answer from a cache. Null where there is none (signed out):
   * status is `refused`, and it is asked again slowly. Undefined where none is needed. A rejection
   * counts as a failed attempt.
   */
  readonly getToken?:
    | ((attempt: { readonly refused: boolean }) => Token | Promise<Token>)
    | undefined;
  /**
   * The token travels as a subprotocol, which stays out of URLs and logs; `query`: where something
   * on the way drops that header.
   */
  readonly tokenIn?: 'subprotocol' | 'query';
  /** Rooms to join, of those that the token allows. */
  readonly rooms?: readonly string[] | undefined;
  /** Where to go on from, instead of from now: `feed.cursor` of an earlier visit. */
  readonly cursor?: string | null | undefined;
  /**
   * Brings the row of a message that was too large to send, by its key. Later messages wait for it,
   * at most `fetchTimeoutMs`.
   */
  readonly fetchRow?:
    | ((
        message: { [Type in keyof Map & string]: TruncatedMessage<Type, Map[Type]> }[keyof Map &
          string],
        context: { readonly signal: AbortSignal },
      ) => Promise<Map[keyof Map] | null | undefined>)
    | undefined;
  /**
   * `data` and `old` arrive as the JSON text that Postgres printed: a bigint or numeric keeps every
   * digit.
   */
  readonly dataAsText?: boolean;
  /** Closes the feed. */
  readonly signal?: AbortSignal | undefined;
  /** Another than the global one: Node before 22 has none. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /**
   * Silence after which the server is asked for a sign of life. AWS cuts after 10 minutes without a
   * message, some proxies after one; each ping and pong costs a message.
   */
  readonly pingIntervalMs?: number;
  /** A ping that is not answered within this: the connection is dead. */
  readonly pongTimeoutMs?: number;
  /** From an attempt's start to the open socket, `getToken` included. */
  readonly connectTimeoutMs?: number;
  readonly fetchTimeoutMs?: number;
  /**
   * The first retry comes within this; each further within twice the time before, at most
   * `maxReconnectDelayMs`.
   */
  readonly reconnectDelayMs?: number;
  readonly maxReconnectDelayMs?: number;
  /** The same while refused. */
  readonly refusedDelayMs?: number;
  readonly maxRefusedDelayMs?: number;
  /**
   * When a new connection takes the old one's place: at some time between this and a tenth more,
   * before API Gateway's 2 hours are over.
   */
  readonly renewAfterMs?: number;
  /** How many recent ids are kept for dropping repeats. */
  readonly maxRememberedIds?: number;
}

/** The type of `data` by message type, as `dataAsText` decides. */
export type Received<Map extends object, AsText> = AsText extends true
  ? { [Type in keyof Map]: string }
  : Map;

/** A WebSocket: the browser's, Node's from 22 on, undici's and ws's all fit. */
export interface WebSocketLike {
  readonly protocol?: string;
  send(data: string): void;
  close(code?: number): void;
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: { readonly data?: unknown; readonly message?: string }) => void,
  ): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

type Token = string | null | undefined;

export type Settings = ReturnType<typeof settingsOf>;

/**
 * 500 new connections a second is what API Gateway takes from an account: after an outage 30,000
 * clients need a minute to return, so retries spread over one
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html).
 * @throws TypeError that names the option
 */
export function settingsOf(options: ConnectOptions) {
  const { rooms = [], tokenIn = 'subprotocol' } = options;
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as ConnectOptions;
  const WebSocket =
    options.WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (!WebSocket) throw new TypeError('connect: no global WebSocket (Node before 22): pass one');
  for (const [name, value] of Object.entries(given))
    if (/Ms$|^max/.test(name) && !((value as number) >= 0))
      throw new TypeError(`connect: ${name} is a number of at least 0, not ${value}`);
  return {
    pingIntervalMs: 240_000,
    pongTimeoutMs: 10_000,
    connectTimeoutMs: 20_000,
    fetchTimeoutMs: 10_000,
    reconnectDelayMs: 1000,
    maxReconnectDelayMs: 60_000,
    refusedDelayMs: 10_000,
    maxRefusedDelayMs: 300_000,
    renewAfterMs: 6_300_000,
    maxRememberedIds: 10_000,
    ...given,
    url: endpoint(options.url, rooms),
    tokenIn,
    WebSocket,
  };
}

/** By comma, in NFC as the server has them, each once. @throws TypeError that names the room */
export function roomList(rooms: readonly string[]): string {
  const wrong = rooms.find((room) => /^$|^\s|\s$|,/.test(room));
  if (wrong !== undefined)
    throw new TypeError(
      `connect: rooms: ${JSON.stringify(wrong)} is empty or has commas or outer spaces`,
    );
  return [...new Set(rooms.map((room) => room.normalize()))].join();
}

export function roomNames(list: string): string[] {
  return list.split(',').filter(Boolean);
}

function endpoint(text: string, rooms: readonly string[]): URL {
  let url: URL | undefined;
  try {
    url = new URL(text, (globalThis as { location?: { href: string } }).location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
  } catch {
    // It is no URL.
  }
  if (!url || !/^wss?:$/.test(url.protocol))
    throw new TypeError(`connect: url looks like wss://…/stage, not ${JSON.stringify(text)}`);
  url.hash = '';
  url.searchParams.set('batch', '1');
  if (rooms.length > 0) url.searchParams.set('rooms', roomList(rooms));
  return url;
}
