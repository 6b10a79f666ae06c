import pg from 'pg';
import * as v from 'valibot';
import { MAX_ROWS, type Table } from './page/tables.ts';
import { watchedTables } from './watched-tables.ts';

const SENDING = v.object({ type: v.string(), audience: v.array(v.string()), data: v.string() });
const ROW = v.record(v.string(), v.string());

/** JSON text, as Postgres printed it. */
export type ApiAnswer = { readonly status: number; readonly json: string };

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  /** The key of a row: a value a column. */
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/**
 * The page's changes of the database, made as an application would: rows are inserted, changed and
 * deleted with plain statements, and messages are sent with rowcast.send(). `GET /api/tables`,
 * `GET|POST /api/rows/{table}`, `PATCH|DELETE /api/rows/{table}?{key}`, `POST /api/send`.
 */
export async function answerApi(database: pg.Pool, request: ApiRequest): Promise<ApiAnswer> {
  const { method, path, query, body } = request;
  try {
    if (path === '/api/send' && method === 'POST')
      return await send(database, v.parse(SENDING, body));
    if (path === '/api/tables' && method === 'GET')
      return { status: 200, json: JSON.stringify(await watchedTables(database)) };
    const name = /^\/api\/rows\/(.+)$/.exec(path)?.[1];
    if (name === undefined) return problem(404, 'no such path');
    const tables = await watchedTables(database);
    const table = tables.find((each) => each.name === decodeURIComponent(name));
    if (!table) return problem(404, `${decodeURIComponent(name)} is not watched`);
    if (method === 'GET') return await list(database, table);
    if (method === 'POST') return await insert(database, table, v.parse(ROW, body));
    if (method === 'PATCH') return await update(database, table, query, v.parse(ROW, body));
    if (method === 'DELETE') return await remove(database, table, query);
    return problem(405, `no ${method} here`);
  } catch (error) {
    // The user needs to read what Postgres or valibot says about the input.
    const { message, hint } = error as { message: string; hint?: string };
    return problem(400, hint ? `${message} (${hint})` : message);
  }
}

const quoted = pg.escapeIdentifier;

/** The rows with the last keys, and the snapshot that they are of. */
async function list(database: pg.Pool, { name, key, columns }: Table): Promise<ApiAnswer> {
  // As page/live-rows.ts sorts them: numbers as numbers, all else as text.
  const order = key.map((column) => {
    const type = columns.find((each) => each.name === column)?.type ?? '';
    const isNumber = /^(smallint|integer|bigint|numeric|real|double)/.test(type);
    return `${quoted(column)}${isNumber ? '' : '::text collate "C"'} desc`;
  });
  const { rows } = await database.query<{ json: string }>(
    `select json_build_object('rows', coalesce(json_agg(row_to_json(newest)), '[]'), 'cursor', rowcast.snapshot())::text as json
     from (select ${columns.map((column) => quoted(column.name))} from ${name}
       ${order.length > 0 ? `order by ${order}` : ''} limit ${MAX_ROWS}) newest`,
  );
  return { status: 200, json: rows[0]?.json ?? '' };
}

async function insert(database: pg.Pool, table: Table, row: RowText): Promise<ApiAnswer> {
  const { columns, values } = assignments(table, row);
  await database.query(
    `insert into ${table.name} (${columns}) values (${values.map((_, i) => `$${i + 1}`)})`,
    values,
  );
  return DONE;
}

async function update(
  database: pg.Pool,
  table: Table,
  key: URLSearchParams,
  row: RowText,
): Promise<ApiAnswer> {
  const { columns, values } = assignments(table, row);
  const set = columns.map((column, i) => `${column} = $${i + 1}`);
  if (table.columns.some(({ name }) => name === 'updated_at') && row.updated_at === undefined)
    set.push('updated_at = now()');
  const one = condition(table, key, values.length);
  const { rowCount } = await database.query(`update ${table.name} set ${set} where ${one.sql}`, [
    ...values,
    ...one.values,
  ]);
  return rowCount ? DONE : problem(404, `${table.name} has no such row`);
}

async function remove(database: pg.Pool, table: Table, key: URLSearchParams): Promise<ApiAnswer> {
  const one = condition(table, key, 0);
  const { rowCount } = await database.query(
    `delete from ${table.name} where ${one.sql}`,
    one.values,
  );
  return rowCount ? DONE : problem(404, `${table.name} has no such row`);
}

async function send(database: pg.Pool, message: v.InferOutput<typeof SENDING>): Promise<ApiAnswer> {
  await database.query('select rowcast.send($1, $2::json, $3)', [
    message.type,
    message.data,
    message.audience,
  ]);
  return DONE;
}

const DONE: ApiAnswer = { status: 200, json: '{}' };

function problem(status: number, error: string): ApiAnswer {
  return { status, json: JSON.stringify({ error }) };
}

/** As a person types it; Postgres reads it as the column's type. */
type RowText = v.InferOutput<typeof ROW>;

/** Only what a form may write. An empty field is null, which the table may refuse. */
function assignments({ name, columns }: Table, row: RowText) {
  const written = columns.filter(
    (column) => (column.inserted || column.edited) && row[column.name] !== undefined,
  );
  if (written.length === 0) throw new Error(`nothing to write into ${name}`);
  return {
    columns: written.map((column) => quoted(column.name)),
    values: written.map((column) => row[column.name] || null),
  };
}

/** @param taken parameters before its own. @throws without a value for each column of the key */
function condition({ name, key }: Table, given: URLSearchParams, taken: number) {
  if (key.length === 0) throw new Error(`${name} has no primary key that is sent`);
  const missing = key.find((column) => !given.has(column));
  if (missing) throw new Error(`${missing} is missing in the query`);
  return {
    sql: key.map((column, i) => `${quoted(column)} = $${taken + i + 1}`).join(' and '),
    values: key.map((column) => given.get(column)),
  };
}
