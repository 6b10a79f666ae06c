import type { Payload } from './payload.ts';

/**
 * Posts to sockets and closes them. Outcomes are data: neither call throws.
 * `src/gateway/` implements it by API Gateway.
 */
export interface Gateway {
  /** A connection younger than this may be answered with `gone` before the gateway knows it. */
  readonly knownWithinMs: number;
  post(connectionId: string, payload: Payload): Promise<PostOutcome>;
  /** Disconnects the client, which comes back with its cursor. */
  close(connectionId: string): Promise<PostOutcome>;
}

/** The outcome of one post. */
export type PostOutcome =
  | { readonly kind: 'delivered' }
  /** The connection is over, or the gateway does not know it yet. */
  | { readonly kind: 'gone' }
  /** Too many posts for the account, or this client's buffer is full. */
  | { readonly kind: 'throttled' }
  /** This frame will never be taken; others may. */
  | { readonly kind: 'rejected'; readonly status: number; readonly reason: string }
  /** No answer, or an error. The frame may have arrived, and is sent again. */
  | { readonly kind: 'failed'; readonly status?: number; readonly reason: string };
