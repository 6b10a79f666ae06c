import type { Payload } from './payload.ts';

/** What delivery needs of API Gateway. Outcomes are data: neither call throws. */
export interface Gateway {
  /** POST /@connections/{id} */
  post(connectionId: string, payload: Payload): Promise<PostOutcome>;
  /** DELETE /@connections/{id}: the client is disconnected and comes back with its cursor. */
  close(connectionId: string): Promise<PostOutcome>;
}

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
