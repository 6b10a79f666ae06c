import { DescribeTableCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  type _Record as ChangeRecord,
  DescribeStreamCommand,
  type DynamoDBStreamsClient,
  type Shard,
} from '@aws-sdk/client-dynamodb-streams';
import { errorText } from '../error-text.ts';
import { FeedLoop, type FeedLoopDeps } from './feed-loop.ts';
import { scanConnections, type TableReader } from './scan-feed.ts';
import { GapError, ShardReader } from './shard-reader.ts';
import { connectionOf } from './table-item.ts';

/**
 * Shards split and roll over by themselves, every four hours or so; a closed one says so at once.
 */
const DESCRIBE_INTERVAL_MS = 60_000;
/**
 * A write is in the stream at most this long after it is in the table: usually far less than a
 * second.
 */
const STREAM_LAG_MS = 10_000;
/**
 * The children of a shard that has ended are listed soon after; where they never are, the stream
 * was turned off.
 */
const CHILDLESS_MS = 300_000;
/** Records that are this much older than the scan are in it. */
const SCAN_MARGIN_MS = 5000;

/**
 * Fills the directory by one scan of the table and then by its stream (DynamoDB Streams,
 * NEW_AND_OLD_IMAGES): joins are known within `refreshIntervalMs` at any number of connections, and
 * nothing is scanned again.
 *
 *     position at the end of each open shard ──▶ scan ──▶ follow the shards, children after their parents
 *                       ▲                                        │ records were missed (trimmed, an iterator too old)
 *                       └────────────────────────────────────────┘
 *
 * The positions come first: what is written during the scan is in one of the two, or in both, which
 * does no harm. At most two relays of one table should follow its stream: each shard serves two
 * readers.
 */
export class StreamFeed extends FeedLoop<StreamFeedDeps> {
  /** The table was scanned, and every change since is read. */
  #synced = false;
  #streamArn = '';
  #readers = new Map<string, ShardReader>();
  /** Every shard that was ever described, so that each is read once. */
  #known = new Map<string, 'reading' | 'done'>();
  #describedAtMs = 0;
  #scanBeganAtMs = 0;

  protected async round(tableRead: () => void): Promise<void> {
    if (!this.#synced) await this.#resync();
    tableRead();
    await this.#follow();
  }

  protected failed(error: unknown, failures: number): void {
    const { table } = this.deps;
    if (error instanceof GapError) this.#synced = false;
    this.log.log(
      'warn',
      'directory_stream_failed',
      {
        event: 'directory_stream_failed',
        table,
        failures,
        rescan: !this.#synced,
        error: errorText(error),
      },
      'cannot follow the stream of the connections table; delivering to the connections known so far',
    );
  }

  /** From the end of each open shard, and a scan after that. */
  async #resync(): Promise<void> {
    this.#streamArn = await this.#findStream();
    this.#readers = new Map();
    this.#known = new Map();
    for (const { ShardId = '', SequenceNumberRange } of await this.#describe()) {
      if (SequenceNumberRange?.EndingSequenceNumber) this.#known.set(ShardId, 'done');
      else this.#add(ShardId, 'LATEST');
    }
    if (this.#readers.size === 0) throw new Error('the stream has no open shard yet');
    for (const reader of this.#readers.values()) await reader.open(this.signal);
    this.#scanBeganAtMs = Date.now();
    const seen = await scanConnections(this.deps, this.#scanBeganAtMs, this.signal);
    this.deps.sink.replaceAll(seen, this.#scanBeganAtMs);
    this.#synced = true;
  }

  /** Reads each shard to where it is now. */
  async #follow(): Promise<void> {
    if (Date.now() - this.#describedAtMs > DESCRIBE_INTERVAL_MS) await this.#addShards();
    for (let added = true; added; ) {
      await this.#readShards();
      // A shard stays until its children are known: until then nothing newer counts as seen.
      added =
        [...this.#readers.values()].some(({ endedAtMs }) => endedAtMs) && (await this.#addShards());
    }
    const upTo = Math.min(...[...this.#readers.values()].map(({ caughtUpAtMs }) => caughtUpAtMs));
    this.deps.sink.upToDate(upTo - STREAM_LAG_MS);
  }

  /**
   * Waits for all, whatever becomes of one: two reads of one shard at a time would mix its records
   * up.
   */
  async #readShards(): Promise<void> {
    const reads = await Promise.allSettled(
      [...this.#readers.values()].map((reader) => this.#readShard(reader)),
    );
    const errors = reads.flatMap((read) =>
      read.status === 'rejected' ? [read.reason as unknown] : [],
    );
    if (errors.length > 0) throw errors.find((error) => error instanceof GapError) ?? errors[0];
  }

  /** To where it is now, or for as long as a round may take. */
  async #readShard(reader: ShardReader): Promise<void> {
    const until = Date.now() + Math.max(this.deps.refreshIntervalMs, 1000);
    for (let more = !reader.endedAtMs; more && Date.now() < until; ) {
      const records = await reader.read(this.signal);
      for (const record of records) this.#apply(record);
      more = records.length > 0 && !reader.endedAtMs;
    }
  }

  #apply({ dynamodb: change }: ChangeRecord): void {
    const writtenAtMs = change?.ApproximateCreationDateTime?.getTime() ?? Number.POSITIVE_INFINITY;
    if (writtenAtMs < this.#scanBeganAtMs - SCAN_MARGIN_MS) return;
    const connection = imageOf(change?.NewImage);
    if (connection) {
      this.deps.sink.put(connection);
      return;
    }
    const gone = imageOf(change?.OldImage);
    if (gone && !change?.NewImage) this.deps.sink.removed(gone);
  }

  /**
   * Shards that are new are read from their beginning on, once their parent was read to its end.
   * @returns whether there are any
   */
  async #addShards(): Promise<boolean> {
    const shards = await this.#describe();
    const listed = new Set(shards.map(({ ShardId }) => ShardId));
    const parents = new Set(shards.map(({ ParentShardId }) => ParentShardId));
    for (const { shardId, endedAtMs } of this.#readers.values()) {
      if (!endedAtMs) continue;
      if (parents.has(shardId)) {
        this.#known.set(shardId, 'done');
        this.#readers.delete(shardId);
      } else if (Date.now() - endedAtMs > CHILDLESS_MS)
        throw new GapError('a shard ended, and none follows it');
    }
    const fresh = shards.filter(
      ({ ShardId = '', ParentShardId = '' }) =>
        !this.#known.has(ShardId) &&
        (!listed.has(ParentShardId) || this.#known.get(ParentShardId) === 'done'),
    );
    for (const { ShardId = '' } of fresh) this.#add(ShardId, 'TRIM_HORIZON');
    return fresh.length > 0;
  }

  #add(shardId: string, from: 'LATEST' | 'TRIM_HORIZON'): void {
    const { streams: client } = this.deps;
    this.#known.set(shardId, 'reading');
    const caughtUpAtMs = from === 'LATEST' ? Date.now() : this.#scanBeganAtMs;
    this.#readers.set(
      shardId,
      new ShardReader({ client, streamArn: this.#streamArn, shardId, from, caughtUpAtMs }),
    );
  }

  async #findStream(): Promise<string> {
    const { dynamodb, table } = this.deps;
    const { Table } = await dynamodb.send(new DescribeTableCommand({ TableName: table }), {
      abortSignal: this.signal,
    });
    if (
      Table?.LatestStreamArn &&
      Table.StreamSpecification?.StreamViewType === 'NEW_AND_OLD_IMAGES'
    )
      return Table.LatestStreamArn;
    throw new Error(
      `table ${table} has no stream of NEW_AND_OLD_IMAGES; enable it, or set DIRECTORY_FEED=scan`,
    );
  }

  async #describe(): Promise<Shard[]> {
    const beganAtMs = Date.now();
    const shards: Shard[] = [];
    let ExclusiveStartShardId: string | undefined;
    do {
      const { StreamDescription } = await this.deps.streams.send(
        new DescribeStreamCommand({ StreamArn: this.#streamArn, ExclusiveStartShardId }),
        { abortSignal: this.signal },
      );
      shards.push(...(StreamDescription?.Shards ?? []));
      ExclusiveStartShardId = StreamDescription?.LastEvaluatedShardId;
    } while (ExclusiveStartShardId);
    this.#describedAtMs = beganAtMs;
    return shards;
  }
}

function imageOf(image: Record<string, unknown> | undefined) {
  return image ? connectionOf(image as Parameters<typeof connectionOf>[0]) : null;
}

export interface StreamFeedDeps extends TableReader, FeedLoopDeps {
  readonly dynamodb: DynamoDBClient;
  readonly streams: DynamoDBStreamsClient;
}
