import { type Clock, pause } from '../clock.ts';
import type { SqlSession } from '../postgres/session.ts';
import { CONSUMER } from './cursor-store.ts';

/** Often enough for an alarm within a minute; the query is one index scan of what waits. */
const INTERVAL_MS = 10_000;

/**
 * The oldest events of a longer backlog are counted up to this: a measurement must stay cheap when
 * there is most to do.
 */
const MAX_COUNTED = 10_000;

export interface Lag {
  /** Events committed and not delivered to all who should have them; at most 10,000 are counted. */
  readonly events: number;
  /** About how many wait, where there are more: by their ids, which have gaps. */
  readonly backlog: number;
  /** How long the oldest of them has waited. */
  readonly seconds: number;
  /**
   * Use of Postgres's queue of notifications, which all databases of the server share: 0 to 1. A
   * full queue fails commits.
   */
  readonly notificationQueueUsage: number;
  /** On disk, with indexes and free space. */
  readonly logBytes: number;
}

/** Measures how far the committed cursor is behind the log, while a relay leads. */
export class LogLag {
  readonly #session: SqlSession;

  constructor(session: SqlSession) {
    this.#session = session;
  }

  /** Calls `measured` again and again until the signal aborts. @throws when the database is lost */
  async run(clock: Clock, measured: (lag: Lag) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      measured(await this.measure('log_lag'));
      await pause(clock, INTERVAL_MS, signal);
    }
  }

  /**
   * @param statement keeps the plan under that name, for a caller that measures repeatedly over a
   * direct connection
   */
  async measure(statement?: string): Promise<Lag> {
    const [row] = await this.#session.query<LagRow>(MEASURE, [CONSUMER, MAX_COUNTED], statement);
    const { events = 0, seconds = 0, usage = 0, ids = null, log_bytes: logBytes = 0 } = row ?? {};
    const backlog = events < MAX_COUNTED ? events : Math.max(events, ids ?? 0);
    return { events, backlog, seconds, notificationQueueUsage: usage, logBytes };
  }
}

interface LagRow {
  events: number;
  seconds: number;
  usage: number;
  ids: number | null;
  log_bytes: number;
}

/**
 * $1 consumer, $2 how many are counted. Of a backlog that is read page by page, what was delivered
 * lies below after_id, and what waits is walked by id, as the drain loop does.
 */
const MEASURE = `
  with cursor as materialized (select snapshot, after_id from rowcast.cursor where consumer = $1),
  waiting as (
    select e.* from cursor cross join lateral (
      select id, occurred_at from rowcast.event where xid >= pg_snapshot_xmax(cursor.snapshot) order by xid limit $2
    ) e where after_id is null
    union all
    select e.* from cursor cross join lateral pg_snapshot_xip(cursor.snapshot) as late (xid) cross join lateral (
      select id, occurred_at from rowcast.event where event.xid = late.xid limit $2
    ) e where after_id is null
    union all
    select e.* from cursor cross join lateral (
      select id, occurred_at from rowcast.event
      where id > cursor.after_id and not pg_visible_in_snapshot(xid, cursor.snapshot) order by id limit $2
    ) e where after_id is not null
  )
  select count(*)::int as events,
    coalesce(greatest(0, extract(epoch from clock_timestamp() - min(occurred_at))), 0)::float8 as seconds,
    pg_notification_queue_usage() as usage,
    ((select max(id) from rowcast.event) - min(id) + 1)::float8 as ids,
    pg_total_relation_size('rowcast.event')::float8 as log_bytes
  from waiting`;
