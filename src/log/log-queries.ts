/** The statements by which the log is read (event-log.ts). */

/**
 * An event with a longer type, or with more bytes of audience, addresses nobody
 * (rowcast.check_audience() takes a thousand of 300 bytes).
 */
const MAX_TYPE_BYTES = 1000;
const MAX_AUDIENCE_BYTES = 1_000_000;
/** The writer's trigger keeps keys of 1,000 bytes. */
const MAX_KEY_BYTES = 8000;

/**
 * Rows of the log, aliased `e`, as text, with `size` in bytes. The lateral selects (`offset 0`
 * keeps them apart) print each JSON once; named in several places, it would be printed in each.
 * What is stored compressed in more than the limit is not even unpacked.
 * @param from a relation with the log's columns
 * @param limit the placeholder of `maxDataBytes`
 */
function rowsOf(from: string, limit: string): string {
  return `select e.id as place, e.id::text as id, e.xid::text as xid,
    case when s.addressed then e.type else left(e.type, 100) end as type, case when s.addressed then e.audience else '{}' end as audience,
    case when t.bytes <= ${limit} then t.data end as data, case when t.bytes <= ${limit} then t.old end as old,
    t.bytes > ${limit} or t.data is null and e.key is not null as oversize,
    case when pg_column_size(e.key) <= ${MAX_KEY_BYTES} then e.key::text end as key,
    (extract(epoch from e.occurred_at) * 1000)::bigint::text as timestamp,
    case when s.addressed then e.problem else 'its type or audience is too large' end as problem,
    least(t.bytes, ${limit}) + case when s.addressed then s.audience_bytes else 0 end + 500 as size
    from ${from} e cross join lateral (
      select a.audience_bytes, octet_length(e.type) <= ${MAX_TYPE_BYTES} and a.audience_bytes <= ${MAX_AUDIENCE_BYTES} as addressed,
        coalesce(pg_column_size(e.data), 0) + coalesce(pg_column_size(e.old), 0) as stored
      from (select case when pg_column_size(e.audience) between 1000 and ${MAX_AUDIENCE_BYTES} then octet_length(e.audience::text)
        else pg_column_size(e.audience) end as audience_bytes offset 0) a offset 0) s
    cross join lateral (
      select p.data, p.old,
        case when s.stored > ${limit} then s.stored else coalesce(octet_length(p.data), 0) + coalesce(octet_length(p.old), 0) end as bytes
      from (select case when s.stored <= ${limit} then e.data::text end as data,
        case when s.stored <= ${limit} then e.old::text end as old offset 0) p offset 0) t`;
}

/**
 * The first of `rows` whose bytes before them are less than a limit.
 * @param bytes the placeholder of that limit
 */
function bounded(rows: string, bytes: string): string {
  return `select b.* from (
    select r.*, sum(r.size) over (order by r.place rows unbounded preceding) - r.size as before, count(*) over ()::int as found
    from (${rows}) r) b where b.before < ${bytes}::bigint`;
}

/**
 * $1 xip and $2 xmax of the start, $3 rows at most, $4 maxDataBytes, $5 bytes at most. One
 * statement, so one snapshot for both its rows and its end.
 */
export const FRESH = `
  with now as materialized (select pg_current_snapshot() as snapshot),
  fresh as materialized (
    select e.* from unnest($1::xid8[]) as late (xid) cross join lateral (select * from rowcast.event where event.xid = late.xid limit $3) e
    union all
    (select * from rowcast.event where xid >= $2::xid8 order by xid limit $3)
  )
  select now.snapshot::text as now, coalesce(e.found, 0) as found, e.* from now
  left join (${bounded(rowsOf('(select * from fresh limit $3)', '$4::int'), '$5')}) e on true
  order by e.place`;

/**
 * Replaces FRESH where one of its rows cannot be read. Reports more rows than it returns, so that
 * the window is read as a backlog.
 */
export const NOW = `select pg_current_snapshot()::text as now, 2 as found`;

/**
 * The ids between which a window lies, from the index alone. $1 xip of the start; $2 xid and $3 id
 * after which to look, at first the start's xmax and 0; $4 xmax of the end, $5 rows at most. Rows
 * that are not visible in the end are left out when the window is read.
 */
export const BOUNDS = `
  with late as (
    select e.id from unnest($1::xid8[]) as late (xid) cross join lateral (
      (select id from rowcast.event where event.xid = late.xid order by id limit 1) union all
      (select id from rowcast.event where event.xid = late.xid order by id desc limit 1)) e
  ),
  fresh as materialized (
    select xid, id from rowcast.event where (xid, id) > ($2::xid8, $3::bigint) and xid < $4::xid8 order by xid, id limit $5
  ),
  ids as (select id from late union all select id from fresh)
  select (select min(id) from ids)::text as first, (select max(id) from ids)::text as last, (select count(*)::int from fresh) as counted,
    reached.xid::text as xid, reached.id::text as id
  from (values (1)) one (row) left join (select xid, id from fresh order by xid desc, id desc limit 1) reached on true`;

/**
 * By id on purpose: the conditions on xid are function calls, which no index serves, so the primary
 * key is walked.
 */
const WITHIN = `
  where e.id > $1::bigint and e.id <= $2::bigint
    and pg_visible_in_snapshot(e.xid, $4::pg_snapshot) and not pg_visible_in_snapshot(e.xid, $3::pg_snapshot)`;

/**
 * $8 terms, or null. The relay compares names as NFC has them, which is another text only where not
 * all is ASCII.
 */
const CHOSEN = `
    and ($8::text[] is null or e.audience && $8::text[] or octet_length(e.audience::text) <> char_length(e.audience::text))`;

/**
 * $1 id after which, $2 up to which; $3 start and $4 end of the window; $5 rows, $6 maxDataBytes,
 * $7 bytes at most; $8 terms.
 */
export const PAGE = `${bounded(`${rowsOf('rowcast.event', '$6::int')} ${WITHIN} ${CHOSEN} order by e.id limit $5`, '$7')} order by b.place`;

/** The first row of such a page, by name. */
export const NEXT = `
  select e.id::text as id, e.xid::text as xid, (extract(epoch from e.occurred_at) * 1000)::bigint::text as timestamp
  from rowcast.event e ${WITHIN} order by e.id limit 1`;
