/**
 * The route by which a client asks for rooms on its open socket: `{"action":"rooms","rooms":
 * "lobby,team-7"}`, always its whole wish, so that repeats and lost answers do no harm. API Gateway
 * writes it to the connection's item by itself, without a Lambda; the relay sees it there, judges
 * it and answers with a ROOMS frame. deploy/ makes a route of these texts, and the gateway of
 * `rowcast dev` runs them as they are.
 */

export const ROOMS_ACTION = 'rooms';

/** A hundred rooms of 128 bytes, and commas. */
const MAX_LENGTH = 13_000;

/**
 * The route takes this. API Gateway answers anything else itself, and writes nothing (JSON Schema,
 * draft 4:
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-request-validation.html).
 */
export const ROOMS_MODEL = {
  $schema: 'http://json-schema.org/draft-04/schema#',
  title: 'Rooms',
  type: 'object',
  required: ['action', 'rooms'],
  properties: {
    action: { type: 'string', enum: [ROOMS_ACTION] },
    rooms: { type: 'string', maxLength: MAX_LENGTH },
  },
} as const;

/**
 * The body of DynamoDB's UpdateItem, as a mapping template. It changes two attributes of an item
 * that is there, and never brings back an older wish: messages of one socket may overtake each
 * other.
 */
export function roomsTemplate(table: string): string {
  return JSON.stringify({
    TableName: table,
    Key: { connectionId: { S: '$context.connectionId' } },
    UpdateExpression: 'SET wanted = :wanted, wantedAt = :at',
    ConditionExpression:
      'attribute_exists(connectionId) AND (attribute_not_exists(wantedAt) OR wantedAt <= :at)',
    ExpressionAttributeValues: {
      ':wanted': { S: '$rooms' },
      ':at': { N: '$context.requestTimeEpoch' },
    },
    // The client's text as JSON text, quotes included.
  }).replace('"$rooms"', "$input.json('$.rooms')");
}
