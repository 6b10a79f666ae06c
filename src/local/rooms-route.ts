import { ConditionalCheckFailedException, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import type { TableReader } from '../connections/scan-feed.ts';
import { ROOMS_MODEL, roomsTemplate } from '../protocol/rooms-route.ts';

/** API Gateway's knowledge of the message. */
interface MessageContext {
  readonly connectionId: string;
  readonly requestId: string;
  readonly requestTimeEpoch: number;
}

/**
 * Runs the route `rooms` as API Gateway does: the model lets the message through, the template
 * makes the request of it, DynamoDB gets that.
 * @returns the frame by which API Gateway answers where something is wrong; null for none
 */
export async function runRoomsRoute(
  { client, table }: TableReader,
  body: unknown,
  context: MessageContext,
): Promise<string | null> {
  const { connectionId, requestId } = context;
  const answer = (message: string) => JSON.stringify({ message, connectionId, requestId });
  if (!fitsModel(body)) return answer('Invalid request body');
  try {
    const input = JSON.parse(render(roomsTemplate(table), body, context));
    await client.send(new UpdateItemCommand(input));
    return null;
  } catch (error) {
    // An older wish, or an item that is gone: the route answers nothing.
    if (error instanceof ConditionalCheckFailedException) return null;
    return answer('Internal server error');
  }
}

function fitsModel(body: unknown): body is Readonly<Record<string, unknown>> {
  const { rooms, action } = (body ?? {}) as Record<string, unknown>;
  const { properties } = ROOMS_MODEL;
  return (
    typeof rooms === 'string' &&
    [...rooms].length <= properties.rooms.maxLength &&
    properties.action.enum.some((each) => each === action)
  );
}

/**
 * The two forms of Velocity's references that the template has
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html).
 */
function render(
  template: string,
  body: Readonly<Record<string, unknown>>,
  context: MessageContext,
): string {
  return template
    .replace(/\$context\.(\w+)/g, (_, name: keyof MessageContext) => String(context[name]))
    .replace(/\$input\.json\('\$\.(\w+)'\)/g, (_, name: string) => JSON.stringify(body[name]));
}
