import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** A database of a test's own, with all migrations applied (or empty). */
export class TestDatabase {
  readonly url: string;
  #pool: pg.Pool;

  private constructor(adminUrl: string, name: string) {
    this.url = Object.assign(new URL(adminUrl), { pathname: `/${name}` }).href;
    this.#pool = this.#connect();
  }

  #connect(): pg.Pool {
    const pool = new pg.Pool({ connectionString: this.url, max: 20 });
    // A test that restarts Postgres ends idle connections too.
    pool.on('error', () => undefined);
    return pool;
  }

  /** Ends the idle connections: a database cannot be copied while somebody is connected. */
  async disconnect(): Promise<void> {
    await this.#pool.end();
    this.#pool = this.#connect();
  }

  static async create(options: { empty?: boolean } = {}): Promise<TestDatabase> {
    const adminUrl = inject('adminUrl');
    const name = `${inject('template')}_${randomBytes(6).toString('hex')}`;
    await asAdmin(adminUrl, (admin) =>
      admin.query(
        `create database ${name}${options.empty ? '' : ` template ${inject('template')}`}`,
      ),
    );
    const database = new TestDatabase(adminUrl, name);
    // Made from a template, it is a copy, and Rowcast knows.
    if (!options.empty) {
      await database.sql('select rowcast.adopt()');
      // As if it had been installed here.
      await database.sql(`update rowcast.installation set refetch_before = '-infinity'`);
      await database.sql('update rowcast.cursor set served_until = now()');
    }
    return database;
  }

  /** The rows of one statement. */
  async sql<Row extends pg.QueryResultRow = Record<string, unknown>>(
    text: string,
    values: unknown[] = [],
  ): Promise<Row[]> {
    return (await this.#pool.query<Row>(text, values)).rows;
  }

  /** A connection of its own, for transactions. */
  async client(): Promise<pg.PoolClient> {
    return this.#pool.connect();
  }

  /**
   * Dropping costs a checkpoint of the whole server: the run drops all its databases when it ends.
   */
  async close(): Promise<void> {
    await this.#pool.end();
  }
}

async function asAdmin<T>(adminUrl: string, work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client(adminUrl);
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}
