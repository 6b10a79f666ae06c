import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { type Connection, fromItem } from './connection.ts';

/** Null for an item that is no connection, whatever it is. */
export function connectionOf(item: Record<string, AttributeValue>): Connection | null {
  try {
    // Without it a number that is too large is an error.
    return fromItem(unmarshall(item, { wrapNumbers: Number }));
  } catch {
    return null;
  }
}
