import type { PostOutcome } from '../pusher/gateway.ts';
import { Payload } from '../pusher/payload.ts';

/** An id of API Gateway's form that is never given to anybody. */
export const NOBODY = 'AAAAAAAAAAAAAAA=';

/**
 * A post to an id that cannot exist is answered 410 where everything is right, and 400 by gateways
 * that look at the id first. The same request with a wrong stage, without the right to post, or
 * from a VPC whose own endpoint for execute-api stands in the way is 403
 * (https://repost.aws/knowledge-center/api-gateway-vpc-connections).
 * @returns what is wrong and what to do, or null
 */
export async function checkGateway(gateway: {
  post(connectionId: string, payload: Payload): Promise<PostOutcome>;
}): Promise<string | null> {
  const outcome = await gateway.post(NOBODY, new Payload(Buffer.from('{"type":"SELF_CHECK"}')));
  if (outcome.kind === 'gone' || outcome.kind === 'throttled') return null;
  if (outcome.kind === 'rejected')
    return outcome.status === 400 ? null : answered(outcome.status, outcome.reason);
  if (outcome.kind === 'delivered')
    return 'WEBSOCKET_ENDPOINT answers 200 for a connection that cannot exist: it is no callback API of API Gateway';
  if (outcome.status === 403)
    return `WEBSOCKET_ENDPOINT answers 403: a wrong stage (a custom domain is written without one), no right to execute-api:ManageConnections, or a VPC endpoint for execute-api with private DNS in the way (${outcome.reason})`;
  return answered(outcome.status, outcome.reason);
}

function answered(status: number | undefined, reason: string): string {
  return `WEBSOCKET_ENDPOINT ${status === undefined ? 'cannot be reached' : `answers ${status}`}: ${reason}`;
}
