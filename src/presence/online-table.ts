import { withoutForeignText } from '../postgres/foreign-text.ts';
import type { SqlSession } from '../postgres/session.ts';

/** Users and rooms that one statement takes, about: some 20 ms of a database's time. */
const ENTRIES_A_REPORT = 2000;

/** One row of rowcast.online. */
export interface OnlineRow {
  readonly userId: string;
  readonly rooms: readonly string[];
  readonly connections: number;
  /** JSON text. */
  readonly info: string | undefined;
}

interface Answer {
  readonly ok: boolean;
}

export interface Watched {
  /** Names of rooms, and beginnings of names: `team-*`. */
  readonly rooms: readonly string[];
  /** Somebody has said who is online, as of this term, and nobody has undone it. */
  readonly isReported: boolean;
}

/** The part of the database that is about presence: which rooms are watched, and who is online. */
export class OnlineTable {
  readonly #session: Pick<SqlSession, 'query'>;
  readonly #term: string;

  /** @param term of the lease: only its holder says who is online */
  constructor({ session, term }: { session: Pick<SqlSession, 'query'>; term: string }) {
    this.#session = session;
    this.#term = term;
  }

  /** @throws when the database is lost, or the relay's role may not read it */
  async watched(): Promise<Watched> {
    const [watched] = await this.#session.query<Watched>(WATCHED, [], 'read_presence_watch');
    return watched as Watched;
  }

  /** Ids of users who have a row, also where another relay has written it. */
  async userIds(): Promise<string[]> {
    const rows = await this.#session.query<{ id: string }>(ONLINE, [], 'read_online');
    return rows.map(({ id }) => id);
  }

  /**
   * Writes the rows of users who are online and removes those of others.
   * @param isWhole with these everybody who is online was named
   * @throws where another relay leads, and when the database is lost
   */
  async report(
    online: readonly OnlineRow[],
    gone: readonly string[],
    isWhole: boolean,
  ): Promise<void> {
    for (const page of pagesOf(online)) await this.#name(page);
    if (gone.length > 0) await withoutForeignText(gone, (ids) => this.#write([], ids, false));
    if (isWhole) await this.#write([], [], true);
  }

  /** Nobody can ask for an id or a room that the database has no text for; info may be left out. */
  async #name(online: readonly OnlineRow[]): Promise<void> {
    const write = (rows: readonly OnlineRow[]) => this.#write(rows, [], false);
    await withoutForeignText(online, write, (row) =>
      withoutForeignText([{ ...row, info: undefined }], write),
    );
  }

  async #write(
    online: readonly OnlineRow[],
    gone: readonly string[],
    isWhole: boolean,
  ): Promise<Answer[]> {
    const values = [this.#term, `[${online.map(jsonOf).join()}]`, gone, isWhole];
    const rows = await this.#session.query<Answer>(REPORT, values, 'report_online');
    if (!rows[0]?.ok) throw new Error('another relay leads');
    return rows;
  }
}

/** Each is one statement. */
function* pagesOf(online: readonly OnlineRow[]): Iterable<OnlineRow[]> {
  let page: OnlineRow[] = [];
  let entries = 0;
  for (const row of online) {
    if (entries > ENTRIES_A_REPORT) {
      yield page;
      page = [];
      entries = 0;
    }
    page.push(row);
    entries += 1 + row.rooms.length;
  }
  if (page.length > 0) yield page;
}

function jsonOf({ userId, rooms, connections, info = 'null' }: OnlineRow): string {
  return `{"user_id":${JSON.stringify(userId)},"rooms":${JSON.stringify(rooms)},"connections":${connections},"info":${info}}`;
}

const WATCHED = `
  select coalesce(array_agg(substr(term, 6) order by term), '{}') as rooms, rowcast.is_presence_known() as "isReported"
  from rowcast.presence_watch`;

const ONLINE = `select user_id as id from rowcast.online`;

const REPORT = `select rowcast.report_online($1, $2, $3, $4) as ok`;
