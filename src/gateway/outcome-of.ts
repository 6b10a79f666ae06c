import type { PostOutcome } from '../pusher/gateway.ts';

/**
 * By HTTP status, never by name: proxies and API Gateway itself leave names out.
 * 410 gone, 429 throttled, 400 and 413 rejected; 403, 5xx and no answer failed.
 * @param status undefined without an answer
 */
export function outcomeOf(status: number | undefined, reason: () => string): PostOutcome {
  if (status === undefined) return { kind: 'failed', reason: reason() };
  if (status >= 200 && status < 300) return DELIVERED;
  if (status === 410) return { kind: 'gone' };
  if (status === 429) return { kind: 'throttled' };
  if (status === 400 || status === 413) return { kind: 'rejected', status, reason: reason() };
  return { kind: 'failed', status, reason: reason() };
}

const DELIVERED: PostOutcome = { kind: 'delivered' };
