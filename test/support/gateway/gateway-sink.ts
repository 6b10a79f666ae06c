import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/**
 * A callback API that takes every post and keeps it. Where the local gateway would have to hold a
 * socket and its client's end for each connection, or where connection ids must be chosen.
 */
export class GatewaySink {
  readonly url: string;
  /** By connection id, the payloads in the order they came. */
  readonly posts: Map<string, string[]>;
  /** When each post came, in `performance.now()`. */
  readonly postedAt: number[];
  readonly #arrived: EventEmitter;

  private constructor(
    url: string,
    posts: Map<string, string[]>,
    postedAt: number[],
    arrived: EventEmitter,
  ) {
    this.url = url;
    this.posts = posts;
    this.postedAt = postedAt;
    this.#arrived = arrived;
  }

  static async start(): Promise<GatewaySink> {
    const posts = new Map<string, string[]>();
    const postedAt: number[] = [];
    const arrived = new EventEmitter();
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const id = decodeURIComponent(String(request.url?.split('/').at(-1)));
      if (request.method === 'POST') {
        posts.set(id, [...(posts.get(id) ?? []), Buffer.concat(chunks).toString()]);
        postedAt.push(performance.now());
        arrived.emit('post');
      }
      response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return new GatewaySink(
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/sink`,
      posts,
      postedAt,
      arrived,
    );
  }

  /** Resolves once each of the connections was posted something that matches. */
  async all(connectionIds: Iterable<string>, matches: (payload: string) => boolean): Promise<void> {
    for (const id of connectionIds) {
      while (!this.posts.get(id)?.some(matches)) await once(this.#arrived, 'post');
    }
  }
}
