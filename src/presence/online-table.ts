import { isForeignText } from '../postgres/foreign-text.ts';
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
    return watched ?? { rooms: [], isReported: false };
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
    let page: OnlineRow[] = [];
    let entries = 0;
    for (const row of online) {
      if (entries > ENTRIES_A_REPORT) {
        await this.#write(page, [], false);
        page = [];
        entries = 0;
      }
      page.push(row);
      entries += 1 + row.rooms.length;
    }
    await this.#write(page, gone, isWhole);
  }

  async #write(
    online: readonly OnlineRow[],
    gone: readonly string[],
    isWhole: boolean,
  ): Promise<void> {
    const values = [this.#term, `[${online.map(jsonOf).join()}]`, gone, isWhole];
    try {
      const [row] = await this.#session.query<{ ok: boolean }>(REPORT, values, 'report_online');
      if (!row?.ok) throw new Error('another relay leads');
    } catch (error) {
      if (!isForeignText(error)) throw error;
      const [first] = online;
      if (online.length + gone.length === 1) {
        if (first?.info !== undefined)
          return this.#write([{ ...first, info: undefined }], [], isWhole);
        // Nobody can ask for a name that the database has no text for.
        return isWhole ? this.#write([], [], true) : undefined;
      }
      const [onlineHalf, goneHalf] = [online.length / 2, gone.length / 2];
      await this.#write(online.slice(0, onlineHalf), gone.slice(0, Math.ceil(goneHalf)), false);
      await this.#write(online.slice(onlineHalf), gone.slice(Math.ceil(goneHalf)), isWhole);
    }
  }
}

function jsonOf({ userId, rooms, connections, info = 'null' }: OnlineRow): string {
  return `{"user_id":${JSON.stringify(userId)},"rooms":${JSON.stringify(rooms)},"connections":${connections},"info":${info}}`;
}

const WATCHED = `
  select coalesce(array_agg(substr(term, 6) order by term), '{}') as rooms, rowcast.is_presence_known() as "isReported"
  from rowcast.presence_watch`;

const ONLINE = `select user_id as id from rowcast.online`;

const REPORT = `select rowcast.report_online($1, $2, $3, $4) as ok`;
