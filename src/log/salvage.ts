import { errorText } from '../error-text.ts';
import type { SqlSession } from '../postgres/session.ts';
import type { LoggedEvent } from './logged-event.ts';

/**
 * A row of the log that a page cannot hold, read by itself: text whose bytes are of another
 * encoding than the database's, or of none, comes as bytes and is decoded here, with a sign in the
 * place of what cannot be. What cannot be read like that either is set aside: an event for nobody,
 * that says why.
 * @throws when the database is lost
 */
export async function salvage(
  session: SqlSession,
  row: RowName,
  maxDataBytes: number,
): Promise<LoggedEvent> {
  try {
    const [raw] = await session.query<RawRow>(RAW, [row.id, maxDataBytes]);
    if (!raw) return setAside(row, 'its type or audience is too large');
    const decode = (base64: string | null) =>
      base64 === null ? null : decoder(raw.encoding).decode(Buffer.from(base64, 'base64'));
    const data = decode(raw.data);
    return {
      ...row,
      type: decode(raw.type) ?? '',
      audience: JSON.parse(decode(raw.audience) ?? '[]') as string[],
      data,
      old: decode(raw.old),
      oversize: data === null,
      key: decode(raw.key),
      problem: `its bytes are not all text in ${raw.encoding}`,
    };
  } catch (error) {
    if (session.ended.aborted || !(isDataError(error) || error instanceof SyntaxError)) throw error;
    return setAside(row, `it cannot be read: ${errorText(error)}`);
  }
}

/** An event that is for nobody. */
function setAside(row: RowName, problem: string): LoggedEvent {
  return {
    ...row,
    type: '',
    audience: [],
    data: null,
    old: null,
    oversize: false,
    key: null,
    problem,
  };
}

/**
 * The statement failed because of what it read, and the connection goes on: data exceptions,
 * limits, memory, corruption, a statement that the server ended because it took too long
 * (https://www.postgresql.org/docs/current/errcodes-appendix.html).
 */
export function isDataError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^(22...|54...|XX...|53200|57014)$/.test(code);
}

/**
 * Postgres's names of encodings as the Encoding Standard has them; UTF-8 for the others.
 */
function decoder(encoding: string): { decode(bytes: Buffer): string } {
  const label = encoding.replace(/^WIN(?=\d)/, 'windows-').replace(/^LATIN1$/, 'windows-1252');
  try {
    return new TextDecoder(label);
  } catch {
    return new TextDecoder();
  }
}

/** Nothing in it depends on an encoding. */
export interface RowName {
  readonly id: string;
  readonly xid: string;
  readonly timestamp: string;
}

interface RawRow {
  readonly encoding: string;
  readonly type: string | null;
  readonly audience: string | null;
  readonly data: string | null;
  readonly old: string | null;
  readonly key: string | null;
}

/** SQL for a text as it is stored, in base64. */
function bytesOf(text: string): string {
  return `encode(convert_to(${text}, getdatabaseencoding()), 'base64')`;
}

/** $1 id, $2 maxDataBytes. Converting to the database's own encoding leaves every byte as it is. */
const RAW = `
  select getdatabaseencoding() as encoding, ${bytesOf('e.type')} as type, ${bytesOf('array_to_json(e.audience)::text')} as audience,
    case when octet_length(e.data::text) + coalesce(octet_length(e.old::text), 0) <= $2::int then ${bytesOf('e.data::text')} end as data,
    case when coalesce(octet_length(e.data::text), 0) + octet_length(e.old::text) <= $2::int then ${bytesOf('e.old::text')} end as old,
    ${bytesOf('e.key::text')} as key
  from rowcast.event e where e.id = $1::bigint and octet_length(e.type) <= 1000 and pg_column_size(e.audience) <= 1000000
    and coalesce(pg_column_size(e.key), 0) <= 8000`;
