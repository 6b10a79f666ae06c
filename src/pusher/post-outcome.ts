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

/** What became of one post. */
export type PostOutcome =
  | { readonly kind: 'delivered' }
  /** 410: the connection is over, or API Gateway does not know it yet. */
  | { readonly kind: 'gone' }
  /** 429: too many posts for the account, or this client's buffer is full. */
  | { readonly kind: 'throttled' }
  /** 400, 413: this frame will never be taken; others may. */
  | { readonly kind: 'rejected'; readonly status: number; readonly reason: string }
  /** 5xx, 403, time-out, no connection: it may have arrived, and is sent again. */
  | { readonly kind: 'failed'; readonly status?: number; readonly reason: string };
