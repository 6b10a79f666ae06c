import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startDynamoDb } from '../../../src/local/dynamodb.ts';

const ARN =
  'arn:aws:dynamodb:us-east-1:000000000000:table/connections/stream/2026-11-21T00:00:00.000';
type Json = Record<string, unknown>;

interface FakeShard {
  readonly id: string;
  readonly parent: string | undefined;
  readonly records: { sequence: number; change: Json }[];
  closed: boolean;
  /** Records before this index are trimmed. */
  trimmed: number;
}

/**
 * A DynamoDB (dynalite, which has no streams) with a stream before it that can be made to do what
 * no emulator does at will: split and close shards, expire iterators, trim records. Speaks the
 * protocol of DynamoDB Streams over HTTP.
 */
export class StreamsServer {
  readonly endpoint: string;
  readonly #close: () => Promise<unknown>;
  #shards: FakeShard[] = [
    { id: 'shard-0', parent: undefined, records: [], closed: false, trimmed: 0 },
  ];
  #sequence = 0;
  #generation = 0;
  /** How many requests of each operation came. */
  readonly requests = new Map<string, number>();

  private constructor(endpoint: string, close: () => Promise<unknown>) {
    this.endpoint = endpoint;
    this.#close = close;
  }

  static async start(): Promise<StreamsServer> {
    const dynamodb = await startDynamoDb();
    const server = createServer(
      (request, response) => void streams.#answer(request, response, dynamodb.endpoint),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const streams = new StreamsServer(
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
        await dynamodb.stop();
      },
    );
    return streams;
  }

  stop(): Promise<unknown> {
    return this.#close();
  }

  /** Each open shard is closed, and two children take over. */
  split(): void {
    for (const parent of this.#shards.filter(({ closed }) => !closed)) {
      parent.closed = true;
      for (const side of ['a', 'b'])
        this.#shards.push({
          id: `${parent.id}${side}`,
          parent: parent.id,
          records: [],
          closed: false,
          trimmed: 0,
        });
    }
  }

  /** Every iterator that was handed out is too old. */
  expireIterators(): void {
    this.#generation++;
  }

  /** Throws away all records of the stream, read or not. */
  trim(): void {
    for (const shard of this.#shards) shard.trimmed = shard.records.length;
  }

  /** The records of one item are in one line of descent, as in DynamoDB. */
  #shardOf(key: string): FakeShard {
    const sides = createHash('sha256').update(key).digest()[0] as number;
    let [shard] = this.#shards as [FakeShard];
    for (let depth = 0; shard.closed; depth++) {
      const children = this.#shards.filter(({ parent }) => parent === shard.id);
      shard = children[(sides >> (depth % 8)) & 1] as FakeShard;
    }
    return shard;
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    dynamodb: string,
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const [api = '', operation = ''] = String(request.headers['x-amz-target']).split('.');
    const input = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Json;
    this.requests.set(operation, (this.requests.get(operation) ?? 0) + 1);
    const { status, body } = api.startsWith('DynamoDBStreams')
      ? this.#stream(operation, input)
      : await this.#table(operation, input, request, dynamodb);
    response
      .writeHead(status, { 'content-type': 'application/x-amz-json-1.0' })
      .end(JSON.stringify(body));
  }

  /** Passed on; what changes the table is recorded. */
  async #table(operation: string, input: Json, request: IncomingMessage, dynamodb: string) {
    const writes = operation === 'PutItem' || operation === 'DeleteItem';
    const { host: _, 'content-length': __, ...headers } = request.headers as Record<string, string>;
    const answer = await fetch(dynamodb, {
      method: 'POST',
      headers,
      body: JSON.stringify(writes ? { ...input, ReturnValues: 'ALL_OLD' } : input),
    });
    const body = (await answer.json()) as Json;
    if (answer.ok && writes) this.#record(operation, input, body.Attributes as Json | undefined);
    const Table = body.Table as Json | undefined;
    if (Table)
      Object.assign(Table, {
        LatestStreamArn: ARN,
        StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' },
      });
    return { status: answer.status, body };
  }

  #record(operation: string, input: Json, old: Json | undefined): void {
    if (operation === 'DeleteItem' && !old) return;
    const change = {
      ...(operation === 'PutItem' ? { NewImage: input.Item } : {}),
      ...(old ? { OldImage: old } : {}),
      ApproximateCreationDateTime: Date.now() / 1000,
    };
    const { connectionId } = (input.Key ?? input.Item) as { connectionId: { S: string } };
    this.#shardOf(connectionId.S).records.push({ sequence: ++this.#sequence, change });
  }

  #stream(operation: string, input: Json): { status: number; body: Json } {
    if (operation === 'DescribeStream') {
      const Shards = this.#shards.map(({ id, parent, closed }) => ({
        ShardId: id,
        ...(parent ? { ParentShardId: parent } : {}),
        SequenceNumberRange: {
          StartingSequenceNumber: '0',
          ...(closed ? { EndingSequenceNumber: String(this.#sequence) } : {}),
        },
      }));
      // One a page: a reader that takes the first page for all would miss the others.
      const at = Shards.findIndex(({ ShardId }) => ShardId === input.ExclusiveStartShardId) + 1;
      const last = at < Shards.length - 1 ? { LastEvaluatedShardId: Shards[at]?.ShardId } : {};
      return {
        status: 200,
        body: { StreamDescription: { StreamArn: ARN, Shards: Shards.slice(at, at + 1), ...last } },
      };
    }
    if (operation === 'GetShardIterator') return this.#iterator(input);
    const [id, index, generation] = String(input.ShardIterator).split(' ');
    if (Number(generation) !== this.#generation) return failure('ExpiredIteratorException');
    const shard = this.#shards.find((each) => each.id === id) as FakeShard;
    if (Number(index) < shard.trimmed) return failure('TrimmedDataAccessException');
    const records = shard.records.slice(Number(index), Number(index) + 2);
    const next = Number(index) + records.length;
    return {
      status: 200,
      body: {
        Records: records.map(({ sequence, change }) => ({
          dynamodb: { ...change, SequenceNumber: String(sequence) },
        })),
        ...(shard.closed && next === shard.records.length
          ? {}
          : { NextShardIterator: `${id} ${next} ${this.#generation}` }),
      },
    };
  }

  #iterator(input: Json): { status: number; body: Json } {
    const shard = this.#shards.find(({ id }) => id === input.ShardId) as FakeShard;
    const after = shard.records.findIndex(
      ({ sequence }) => String(sequence) === input.SequenceNumber,
    );
    const index =
      { LATEST: shard.records.length, TRIM_HORIZON: shard.trimmed }[
        String(input.ShardIteratorType)
      ] ?? after + 1;
    if (index < shard.trimmed) return failure('TrimmedDataAccessException');
    return { status: 200, body: { ShardIterator: `${shard.id} ${index} ${this.#generation}` } };
  }
}

function failure(type: string): { status: number; body: Json } {
  return {
    status: 400,
    body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: type },
  };
}
