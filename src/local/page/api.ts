import type { Row, Table } from './tables.ts';

export interface Config {
  readonly websocketUrl: string;
  readonly databaseUrl: string;
  /**
   * Who one is: said in the query, proved by a token that /api/token makes, or by one that is
   * pasted.
   */
  readonly auth: 'none' | 'secret' | 'jwks';
}

export interface Identity {
  readonly userId: string;
  readonly rooms: readonly string[];
  readonly roles: readonly string[];
  /** Where tokens come from an issuer of its own. */
  readonly token: string;
}

export const fetchConfig = async () => JSON.parse(await call('GET', '/api/config')) as Config;
export const fetchTables = async () => JSON.parse(await call('GET', '/api/tables')) as Table[];

export const fetchRows = async (table: Table, signal: AbortSignal) =>
  JSON.parse(await call('GET', rowsOf(table), undefined, signal)) as {
    rows: Row[];
    cursor: string;
  };
export const insertRow = (table: Table, row: Row) => call('POST', rowsOf(table), row);
export const updateRow = (table: Table, key: Row, row: Row) =>
  call('PATCH', rowOf(table, key), row);
export const deleteRow = (table: Table, key: Row) => call('DELETE', rowOf(table, key));

export const sendMessage = (message: { type: string; audience: string[]; data: string }) =>
  call('POST', '/api/send', message);

/** As `rowcast trace` prints it. */
export const fetchTrace = (eventId: string) => call('GET', `/api/trace/${eventId}`);

/** It allows every room: they are joined and left while it is good. */
export function fetchToken({ userId, roles }: Identity): Promise<string> {
  return call('POST', '/api/token', { userId, rooms: ['*'], roles });
}

const rowsOf = ({ name }: Table) => `/api/rows/${encodeURIComponent(name)}`;

function rowOf(table: Table, row: Row): string {
  const key = table.key.map((column) => [column, String(row[column])]);
  return `${rowsOf(table)}?${new URLSearchParams(key)}`;
}

/** @throws with what the server says is wrong */
async function call(
  method: string,
  path: string,
  body?: object,
  signal?: AbortSignal,
): Promise<string> {
  const response = await fetch(path, {
    method,
    ...(signal && { signal }),
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (response.ok) return text;
  const { error = text } = JSON.parse(text.startsWith('{') ? text : '{}') as { error?: string };
  throw new Error(error);
}
