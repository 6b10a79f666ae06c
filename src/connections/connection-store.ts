import {
  DeleteCommand,
  type DynamoDBDocumentClient,
  PutCommand,
  QueryCommand,
} from '@aws-sdk/lib-dynamodb';
import { type Connection, toItem } from './connection.ts';

/**
 * Writes the connections table: for `$connect` and `$disconnect`, and for the relay, of
 * connections that API Gateway says are gone. Both writes are idempotent, since Lambda may run a
 * handler twice.
 */
export class ConnectionStore {
  readonly #client: DynamoDBDocumentClient;
  readonly #table: string;

  constructor(deps: { client: DynamoDBDocumentClient; table: string }) {
    this.#client = deps.client;
    this.#table = deps.table;
  }

  /**
   * Keeps what is there when it is younger: a retried `$connect` must not undo a later one of the
   * same id.
   */
  async put(connection: Connection): Promise<void> {
    await ifCondition(() =>
      this.#client.send(
        new PutCommand({
          TableName: this.#table,
          Item: toItem(connection),
          ConditionExpression: 'attribute_not_exists(connectionId) OR connectedAt <= :connectedAt',
          ExpressionAttributeValues: { ':connectedAt': connection.connectedAt },
        }),
      ),
    );
  }

  /**
   * The connections of a user or an address that have not expired, up to a hundred more than
   * `atLeast`. An index is a moment late: who connects many times at once may get a few more.
   */
  async countOf(attribute: 'userId' | 'address', value: string, atLeast: number): Promise<number> {
    const { Count = 0 } = await this.#client.send(
      new QueryCommand({
        TableName: this.#table,
        IndexName: `${attribute}-index`,
        Select: 'COUNT',
        Limit: atLeast + 100,
        KeyConditionExpression: '#attribute = :value',
        FilterExpression: '#ttl > :now',
        ExpressionAttributeNames: { '#attribute': attribute, '#ttl': 'ttl' },
        ExpressionAttributeValues: { ':value': value, ':now': Math.floor(Date.now() / 1000) },
      }),
    );
    return Count;
  }

  /** @param connectedAt delete only this incarnation of the id; without it, any */
  async remove(connectionId: string, connectedAt?: number): Promise<void> {
    await ifCondition(() =>
      this.#client.send(
        new DeleteCommand({
          TableName: this.#table,
          Key: { connectionId },
          ...(connectedAt === undefined
            ? {}
            : {
                ConditionExpression: 'connectedAt = :connectedAt',
                ExpressionAttributeValues: { ':connectedAt': connectedAt },
              }),
        }),
      ),
    );
  }
}

/** A failed condition means that there is nothing left to write: not an error here. */
async function ifCondition(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!(error instanceof Error && error.name === 'ConditionalCheckFailedException')) throw error;
  }
}
