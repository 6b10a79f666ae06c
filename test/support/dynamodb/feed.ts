import { WebSocket } from 'undici';
import { expect, onTestFinished } from 'vitest';
import {
  type ConnectOptions,
  connect,
  type Feed,
  type FeedError,
  type Message,
  type Ready,
  type Status,
} from '../../../src/client/connect.ts';

/**
 * The browser client as it is in Node 22: its sockets are undici's. Keeps what it hears, and is
 * closed when the test is over.
 */
export function openFeed(url: string, options: Partial<ConnectOptions> = {}): RecordedFeed {
  const feed = connect({ url, WebSocket, reconnectDelayMs: 20, refusedDelayMs: 20, ...options });
  onTestFinished(() => feed.close());
  const recorded: RecordedFeed = Object.assign(feed, {
    messages: [],
    readies: [],
    statuses: [],
    errors: [],
    reaches: (status: Status) => expect.poll(() => feed.status).toBe(status),
    received: (count: number) =>
      expect.poll(() => recorded.messages.length).toBeGreaterThanOrEqual(count),
    isReady: (count = 1) =>
      expect.poll(() => recorded.readies.length).toBeGreaterThanOrEqual(count),
  });
  feed.onMessage((message) => recorded.messages.push(message));
  feed.onReady((ready) => recorded.readies.push(ready));
  feed.onStatus((status, error) => {
    recorded.statuses.push(status);
    if (error) recorded.errors.push(error);
  });
  return recorded;
}

export interface RecordedFeed extends Feed {
  readonly messages: Message[];
  readonly readies: Ready[];
  readonly statuses: Status[];
  readonly errors: FeedError[];
  reaches(status: Status): Promise<void>;
  received(count: number): Promise<void>;
  isReady(count?: number): Promise<void>;
}
