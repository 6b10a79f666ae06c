import type { Connection } from '../../../src/connections/connection.ts';

const later = Math.floor(Date.now() / 1000) + 3600;

/** A connection that is open for another hour, where `more` does not say otherwise. */
export const connection = (connectionId: string, more: Partial<Connection> = {}): Connection => ({
  connectionId,
  userId: 'u',
  connectedAt: 1,
  ttl: later,
  ...more,
});
