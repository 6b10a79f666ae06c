import {
  type _Record as ChangeRecord,
  type DynamoDBStreamsClient,
  ExpiredIteratorException,
  GetRecordsCommand,
  GetShardIteratorCommand,
  ResourceNotFoundException,
  TrimmedDataAccessException,
} from '@aws-sdk/client-dynamodb-streams';

/**
 * Reads one shard of the table's stream, from its end or its beginning on. Iterators expire after
 * 15 minutes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html):
 * then it goes on after the last record it has seen.
 */
export class ShardReader {
  readonly shardId: string;
  /**
   * When a read that found nothing more began, epoch ms: all that was written before, and is in the
   * stream, was read.
   */
  caughtUpAtMs: number;
  /**
   * When it was found that the shard is closed, and read to its end, epoch ms: its children may be
   * read.
   */
  endedAtMs: number | undefined;
  readonly #client: DynamoDBStreamsClient;
  readonly #streamArn: string;
  readonly #from: 'LATEST' | 'TRIM_HORIZON';
  #iterator: string | undefined;
  #lastSequence: string | undefined;

  constructor(options: ShardReaderOptions) {
    this.shardId = options.shardId;
    this.caughtUpAtMs = options.caughtUpAtMs;
    this.#client = options.client;
    this.#streamArn = options.streamArn;
    this.#from = options.from;
  }

  /** Fixes where reading begins. @throws GapError when that is no longer in the stream */
  async open(abortSignal: AbortSignal): Promise<void> {
    const after = this.#lastSequence;
    const { ShardIterator } = await withGap(
      this.#client.send(
        new GetShardIteratorCommand({
          StreamArn: this.#streamArn,
          ShardId: this.shardId,
          ...(after
            ? { ShardIteratorType: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: after }
            : { ShardIteratorType: this.#from }),
        }),
        { abortSignal },
      ),
    );
    this.#iterator = ShardIterator;
  }

  /**
   * The records since the last read, in order; a page of them where there are many.
   * @throws GapError when records were missed
   */
  async read(abortSignal: AbortSignal): Promise<readonly ChangeRecord[]> {
    if (!this.#iterator) await this.open(abortSignal);
    const beganAtMs = Date.now();
    let page: { Records?: ChangeRecord[] | undefined; NextShardIterator?: string | undefined };
    try {
      page = await withGap(
        this.#client.send(new GetRecordsCommand({ ShardIterator: this.#iterator }), {
          abortSignal,
        }),
      );
    } catch (error) {
      if (!(error instanceof ExpiredIteratorException)) throw error;
      // A shard that was read from its end on, and never had a record: where that end was is lost.
      if (!this.#lastSequence && this.#from === 'LATEST')
        throw new GapError('an iterator expired before its first record');
      this.#iterator = undefined;
      return this.read(abortSignal);
    }
    const records = page.Records ?? [];
    this.#lastSequence = records.at(-1)?.dynamodb?.SequenceNumber ?? this.#lastSequence;
    this.#iterator = page.NextShardIterator;
    if (page.NextShardIterator === undefined) this.endedAtMs = Date.now();
    if (records.length === 0) this.caughtUpAtMs = beganAtMs;
    return records;
  }
}

export interface ShardReaderOptions {
  readonly client: DynamoDBStreamsClient;
  readonly streamArn: string;
  readonly shardId: string;
  readonly from: 'LATEST' | 'TRIM_HORIZON';
  readonly caughtUpAtMs: number;
}

/** Changes were missed: only a scan of the table tells what it holds. */
export class GapError extends Error {
  override readonly name = 'GapError';
}

async function withGap<Answer>(request: Promise<Answer>): Promise<Answer> {
  try {
    return await request;
  } catch (error) {
    // A stream that is gone was that of a table that is gone; a shard is forgotten a day after it
    // was closed.
    if (error instanceof TrimmedDataAccessException || error instanceof ResourceNotFoundException)
      throw new GapError(`records are gone before they were read: ${error.message}`);
    throw error;
  }
}
