import type pg from 'pg';
import * as v from 'valibot';
import { MAX_ROWS } from './page/tables.ts';

/** Columns that the page may write, by table. */
const COLUMNS = {
  messages: ['sender', 'recipient', 'content', 'status'],
  complaints: ['title', 'details', 'status', 'reporter'],
} as const;

type Table = keyof typeof COLUMNS;

const text = v.nullish(v.string());
const ROWS = {
  messages: v.partial(
    v.object({ sender: text, recipient: text, content: v.string(), status: v.string() }),
  ),
  complaints: v.partial(
    v.object({ title: v.string(), details: text, status: v.string(), reporter: text }),
  ),
};
const SENDING = v.object({ type: v.string(), audience: v.array(v.string()), data: v.string() });

/** JSON text, as Postgres printed it. */
export type ApiAnswer = { readonly status: number; readonly json: string };

/**
 * The page's changes of the database, made as an application would: rows are inserted, changed and
 * deleted with plain statements, and messages are sent with rowcast.send(). `GET|POST
 * /api/{table}`, `GET|PATCH|DELETE /api/{table}/{id}`, `POST /api/send`.
 */
export async function answerApi(
  database: pg.Pool,
  request: { method: string; path: string; body: unknown },
): Promise<ApiAnswer> {
  const { method, path, body } = request;
  try {
    if (path === '/api/send' && method === 'POST')
      return await send(database, v.parse(SENDING, body));
    const [, table, id] = /^\/api\/(messages|complaints)(?:\/(\d{1,18}))?$/.exec(path) ?? [];
    if (table === undefined) return problem(404, 'no such path');
    if (id === undefined && method === 'GET') return await list(database, table as Table);
    if (id === undefined && method === 'POST') return await insert(database, table as Table, body);
    if (id !== undefined && method === 'GET') return await one(database, table as Table, id);
    if (id !== undefined && method === 'PATCH')
      return await update(database, table as Table, id, body);
    if (id !== undefined && method === 'DELETE') return await remove(database, table as Table, id);
    return problem(405, `no ${method} here`);
  } catch (error) {
    // The user needs to read what Postgres or valibot says about the input.
    const { message, hint } = error as { message: string; hint?: string };
    return problem(400, hint ? `${message} (${hint})` : message);
  }
}

async function list(database: pg.Pool, table: Table): Promise<ApiAnswer> {
  const { rows } = await database.query<{ json: string }>(
    `select coalesce(json_agg(row_to_json(newest)), '[]')::text as json
     from (select * from public.${table} order by id desc limit ${MAX_ROWS}) newest`,
  );
  return { status: 200, json: rows[0]?.json ?? '[]' };
}

async function one(database: pg.Pool, table: Table, id: string): Promise<ApiAnswer> {
  const { rows } = await database.query<{ json: string }>(
    `select row_to_json(found)::text as json from public.${table} found where id = $1`,
    [id],
  );
  return rows[0] ? { status: 200, json: rows[0].json } : problem(404, `${table} has no row ${id}`);
}

async function insert(database: pg.Pool, table: Table, body: unknown): Promise<ApiAnswer> {
  const given = assignments(table, body);
  await database.query(
    `insert into public.${table} (${given.columns}) values (${given.values.map((_, i) => `$${i + 1}`)})`,
    given.values,
  );
  return DONE;
}

async function update(
  database: pg.Pool,
  table: Table,
  id: string,
  body: unknown,
): Promise<ApiAnswer> {
  const given = assignments(table, body);
  const set = given.columns.map((column, i) => `${column} = $${i + 2}`);
  const { rowCount } = await database.query(
    `update public.${table} set ${set}, updated_at = now() where id = $1`,
    [id, ...given.values],
  );
  return rowCount ? DONE : problem(404, `${table} has no row ${id}`);
}

async function remove(database: pg.Pool, table: Table, id: string): Promise<ApiAnswer> {
  const { rowCount } = await database.query(`delete from public.${table} where id = $1`, [id]);
  return rowCount ? DONE : problem(404, `${table} has no row ${id}`);
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

/**
 * Only what the page may write; an empty field is null, but for content and title, which the table
 * then refuses.
 */
function assignments(table: Table, body: unknown): { columns: string[]; values: unknown[] } {
  const row = v.parse(ROWS[table], body) as Record<string, unknown>;
  const columns = COLUMNS[table].filter((column) => row[column] !== undefined);
  if (columns.length === 0)
    throw new Error(`nothing to write; ${table} has ${COLUMNS[table].join(', ')}`);
  return { columns, values: columns.map((column) => row[column] || null) };
}
