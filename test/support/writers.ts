import type { TestDatabase } from './postgres/database.ts';
import { seeded } from './random.ts';

const ISOLATION_LEVELS = ['read committed', 'repeatable read', 'serializable'];

/**
 * Writers as rude as an application can be: mixed isolation levels, savepoints that are rolled
 * back, transactions that stay open for a while, and some that are given up. Knows what was
 * committed.
 *
 * Each of `rows` rows of messages is owned by one writer, so that its updates have an order to
 * check.
 */
export class Writers {
  /** Contents of the inserts that were committed. */
  readonly committed = new Set<string>();
  readonly #database: TestDatabase;
  readonly #random: () => number;
  #stopping = false;

  constructor(database: TestDatabase, seed: number) {
    this.#database = database;
    this.#random = seeded(seed);
  }

  /** Resolves when each writer has ended `transactions` of them, or `stop` was called. */
  async run(writers: number, transactions: number): Promise<void> {
    await Promise.all(
      Array.from({ length: writers }, (_, writer) => this.#write(writer, transactions)),
    );
  }

  stop(): void {
    this.#stopping = true;
  }

  async #write(writer: number, transactions: number): Promise<void> {
    const client = await this.#database.client();
    for (let i = 0; i < transactions && !this.#stopping; i++) {
      const contents = Array.from({ length: 1 + this.#below(3) }, (_, n) => `${writer}-${i}-${n}`);
      try {
        await client.query(`begin isolation level ${ISOLATION_LEVELS[this.#below(3)]}`);
        if (this.#below(4) === 0) await client.query('select count(*) from messages where id < 5');
        if (this.#below(5) === 0) {
          await client.query('savepoint undone');
          await client.query('insert into messages (content) values ($1)', [
            `undone ${writer}-${i}`,
          ]);
          await client.query('rollback to undone');
        }
        if (this.#below(3) === 0) await client.query('savepoint kept');
        for (const content of contents)
          await client.query('insert into messages (content) values ($1)', [content]);
        const linger = this.#below(100);
        if (linger < 2) await client.query('select pg_sleep(0.3)');
        else if (linger < 20) await client.query('select pg_sleep(0.01)');
        if (this.#below(10) === 0) await client.query('rollback');
        else {
          await client.query('commit');
          for (const content of contents) this.committed.add(content);
        }
      } catch {
        // A serialization failure is the application's to try again; nothing was committed.
        await client.query('rollback');
      }
    }
    client.release();
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }
}
