import type { Row, Table } from './tables.ts';
import { wire } from './wire.ts';

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

export async function listRows(table: Table): Promise<Row[]> {
  const text = await call('GET', `/api/${table.name}`);
  wire.fetches++;
  wire.bytes += new Blob([text]).size;
  return JSON.parse(text) as Row[];
}

export const fetchRow = async (table: Table, id: number) =>
  JSON.parse(await call('GET', `/api/${table.name}/${id}`)) as Row;
export const insertRow = (table: Table, row: object) => call('POST', `/api/${table.name}`, row);
export const updateRow = (table: Table, id: number, row: object) =>
  call('PATCH', `/api/${table.name}/${id}`, row);
export const deleteRow = (table: Table, id: number) => call('DELETE', `/api/${table.name}/${id}`);

export const sendMessage = (message: { type: string; audience: string[]; data: string }) =>
  call('POST', '/api/send', message);

export const fetchConfig = async () => JSON.parse(await call('GET', '/api/config')) as Config;

export function fetchToken({ userId, rooms, roles }: Identity): Promise<string> {
  return call('POST', '/api/token', { userId, rooms, roles });
}

/** @throws with what the server says is wrong */
async function call(method: string, path: string, body?: object): Promise<string> {
  const response = await fetch(path, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (response.ok) return text;
  const { error = text } = JSON.parse(text.startsWith('{') ? text : '{}') as { error?: string };
  throw new Error(error);
}
