import type { PostOutcome } from '../pusher/gateway.ts';

/** By HTTP status, never by name: proxies and the gateway itself leave names out. @param status undefined where none came */
export function outcomeOf(status: number | undefined, reason: () => string): PostOutcome {
  if (status === undefined) return { kind: 'failed', reason: reason() };
  if (status >= 200 && status < 300) return DELIVERED;
  if (status === 410) return { kind: 'gone' };
  if (status === 429) return { kind: 'throttled' };
  if (status === 400 || status === 413) return { kind: 'rejected', status, reason: reason() };
  return { kind: 'failed', status, reason: reason() };
}

const DELIVERED: PostOutcome = { kind: 'delivered' };
