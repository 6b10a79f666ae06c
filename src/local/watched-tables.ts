import type pg from 'pg';
import type { Table } from './page/tables.ts';

/** The watched tables as the page shows them, the first that was watched first. */
export async function watchedTables(database: pg.Pool): Promise<Table[]> {
  const { rows } = await database.query<Table>(TABLES);
  return rows;
}

/**
 * A form asks for columns without a default, and edits all but the key and the time of the
 * insertion. What a person cannot type (arrays, rows, bytes) it leaves out.
 */
const TABLES = `
  select w.target::text as name, w.entity, w.audience, w.problem,
    case when w.columns is null or k.columns <@ w.columns then k.columns else '{}' end as key,
    c.columns
  from rowcast.watched w
  cross join lateral (
    select coalesce(array_agg(a.attname::text order by array_position(i.indkey::int2[], a.attnum)), '{}') as columns
    from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = w.target and i.indisprimary
  ) k
  cross join lateral (
    select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
        'required', a.attnotnull,
        'inserted', f.typed and f.initial is null,
        'edited', f.typed and a.attname <> all (k.columns) and coalesce(f.initial !~* '^(now\\(\\)|current_timestamp)', true))
      order by a.attnum) as columns
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    cross join lateral (
      select case when a.attidentity <> '' then 'identity' else pg_get_expr(d.adbin, d.adrelid) end as initial,
        a.attgenerated = '' and a.attidentity <> 'a' and t.typcategory not in ('A', 'C') and t.typname <> 'bytea' as typed
    ) f
    where a.attrelid = w.target and a.attnum > 0 and not a.attisdropped
      and (w.columns is null or a.attname = any (w.columns))
  ) c
  order by w.watched_at, w.target`;
