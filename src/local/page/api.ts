import type { Row, Table } from './tables.ts';

export interface Config {
  readonly websocketUrl: string;
  readonly databaseUrl: string;
  /** Who one is: said in the query, proved by a token that /api/token makes, or by one that is pasted. */
  readonly auth: 'none' | 'secret' | 'jwks';
}

export interface Identity {
  readonly userId: string;
  readonly rooms: string;
  readonly roles: string;
  /** Where tokens come from an issuer of its own. */
  readonly token: string;
}

/** What a poll for changes would have fetched: bytes of the last answer, by table. */
export const listBytes = new Map<Table['name'], number>();

export async function listRows(table: Table): Promise<Row[]> {
  const text = await call('GET', `/api/${table.name}`);
  listBytes.set(table.name, new Blob([text]).size);
  return JSON.parse(text) as Row[];
}

export const insertRow = (table: Table, row: object) => call('POST', `/api/${table.name}`, row);
export const updateRow = (table: Table, id: number, row: object) => call('PATCH', `/api/${table.name}/${id}`, row);
export const deleteRow = (table: Table, id: number) => call('DELETE', `/api/${table.name}/${id}`);

export const sendMessage = (message: { type: string; audience: string[]; data: string }) =>
  call('POST', '/api/send', message);

export const fetchConfig = async () => JSON.parse(await call('GET', '/api/config')) as Config;

export const fetchToken = ({ userId, rooms, roles }: Identity) =>
  call('GET', `/api/token?${new URLSearchParams({ userId, rooms, roles })}`);

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
