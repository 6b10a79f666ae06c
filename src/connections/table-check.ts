import {
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  type TableDescription,
} from '@aws-sdk/client-dynamodb';
import { errorText } from '../error-text.ts';

export interface TableCheck {
  /** Nothing can be delivered, or what is stored is misread. */
  readonly problem: string | null;
  /** It works, and should not be left so. */
  readonly warning: string | null;
}

/**
 * Whether the connections table is as deploy/ makes it. TTL is a warning: expired items are ignored
 * before they are deleted, but without it they stay for ever, and every scan reads them.
 */
export async function checkTable(
  client: DynamoDBClient,
  { table, stream }: { table: string; stream: boolean },
): Promise<TableCheck> {
  const named = `CONNECTIONS_TABLE ${table}`;
  let description: TableDescription | undefined;
  try {
    description = (await client.send(new DescribeTableCommand({ TableName: table }))).Table;
  } catch (error) {
    const { name } = error as Error;
    if (name === 'ResourceNotFoundException')
      return broken(`${named} does not exist in this account and Region`);
    if (name === 'AccessDeniedException')
      return { problem: null, warning: `${named} cannot be checked: ${errorText(error)}` };
    return broken(`${named} cannot be described: ${errorText(error)}`);
  }
  const keys = description?.KeySchema?.map(
    ({ AttributeName, KeyType }) => `${AttributeName} ${KeyType}`,
  ).join(', ');
  const type = description?.AttributeDefinitions?.find(
    (each) => each.AttributeName === 'connectionId',
  )?.AttributeType;
  if (keys !== 'connectionId HASH' || type !== 'S')
    return broken(
      `${named} has the key ${keys} (${type ?? 'no connectionId'}); it must be connectionId (S) alone`,
    );
  const view = description?.StreamSpecification?.StreamViewType;
  if (stream && view !== 'NEW_AND_OLD_IMAGES')
    return broken(
      `${named} has ${view ? `a stream of ${view}` : 'no stream'}; DIRECTORY_FEED=stream needs one of NEW_AND_OLD_IMAGES`,
    );
  return { problem: null, warning: await ttlWarning(client, table) };
}

function broken(problem: string): TableCheck {
  return { problem, warning: null };
}

async function ttlWarning(client: DynamoDBClient, table: string): Promise<string | null> {
  try {
    const { TimeToLiveDescription: ttl } = await client.send(
      new DescribeTimeToLiveCommand({ TableName: table }),
    );
    const on = ttl?.TimeToLiveStatus === 'ENABLED' || ttl?.TimeToLiveStatus === 'ENABLING';
    if (on && ttl?.AttributeName === 'ttl') return null;
    return `CONNECTIONS_TABLE ${table} deletes no expired connections: turn TTL on, for the attribute ttl`;
  } catch {
    // An emulator without TTL, or no right to ask.
    return null;
  }
}
