import type { SqlSession } from '../postgres/session.ts';
import type { Snapshot } from './snapshot.ts';

/** A call of rowcast.disconnect(), as the log has it too. */
export interface Disconnect {
  readonly id: string;
  readonly xid: string;
  readonly audience: readonly string[];
  /** Epoch milliseconds in decimal. */
  readonly timestamp: string;
  /** The reason as JSON text, or null. */
  readonly data: string | null;
  /** Retention may have removed the event. */
  readonly isGone: boolean;
}

/** Calls since an instant (epoch ms) that the snapshot sees, or whose event may be gone. */
export function readDisconnected(
  session: SqlSession,
  until: Snapshot,
  sinceMs: number,
): Promise<Disconnect[]> {
  return session.query<Disconnect>(CALLS, [until.text, sinceMs], 'read_disconnected');
}

const CALLS = `
  select event_id::text as id, xid::text, array[term] as audience, (extract(epoch from at) * 1000)::bigint::text as timestamp, reason::text as data, xid < i.floor as "isGone"
  from rowcast.disconnected, rowcast.installation i
  where at >= to_timestamp($2::float8 / 1000) and (pg_visible_in_snapshot(xid, $1::pg_snapshot) or xid < i.floor)
  order by event_id`;
