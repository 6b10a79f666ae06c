import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { DatabaseClient } from './database-client.ts';
import type { CommittedEvent, Ledger } from './ledger.ts';

const ISOLATION_LEVELS = ['read committed', 'repeatable read', 'serializable'];

/**
 * An application that writes, and notes what it knows to be committed.
 */
export class ChaosWriter extends DatabaseClient {
  readonly #options: ChaosWriterOptions;
  #number = 0;

  constructor(options: ChaosWriterOptions) {
    super(options.databaseUrl);
    this.#options = options;
  }

  protected async transaction(client: pg.Client): Promise<void> {
    const { writer, random, ledger, audiences } = this.#options;
    const below = (n: number) => Math.floor(random() * n);
    const begunAt = performance.now();
    const keys: string[] = [];
    await client.query(`begin isolation level ${ISOLATION_LEVELS[below(3)]}`);
    for (let i = below(3); i >= 0; i--) {
      const number = this.#number++;
      const key = `${writer}-${number}`;
      const audience = audiences[below(audiences.length)] as string[];
      if (below(6) === 0) await client.query(`savepoint s`);
      const xid = await this.#append(client, key, audience);
      const [askedAt, answeredAt] = [Infinity, Infinity];
      ledger.events.set(key, {
        ...{ writer, number, audience, begunAt, askedAt, answeredAt, xid },
        certain: false,
      });
      keys.push(key);
    }
    // Transactions of 0 to 800 ms: there are always some in flight that began before others ended.
    if (below(3) === 0) await setTimeout(below(800));
    if (below(10) === 0) {
      await client.query('rollback');
      for (const key of keys) ledger.events.delete(key);
      return;
    }
    const events = keys.map((key) => ledger.events.get(key) as CommittedEvent);
    for (const event of events) event.askedAt = performance.now();
    await client.query('commit');
    for (const event of events)
      Object.assign(event, { certain: true, answeredAt: performance.now() });
    await setTimeout(below(30));
  }

  /**
   * A message of the application's, or a row of a table whose columns change meanwhile.
   * @returns the transaction's id
   */
  async #append(client: pg.Client, key: string, audience: readonly string[]): Promise<bigint> {
    const user = audience.length === 1 ? /^user:(.*)$/.exec(audience[0] as string)?.[1] : undefined;
    const { rows } = user
      ? await client.query<{ xid: string }>(
          'insert into chaos_row (key, owner, weight) values ($1, $2, 1) returning pg_current_xact_id()::text as xid',
          [key, user],
        )
      : await client.query<{ xid: string }>(
          `select pg_current_xact_id()::text as xid, rowcast.send('chaos', json_build_object('key', $1::text), $2)`,
          [key, audience],
        );
    return BigInt(rows[0]?.xid as string);
  }
}

export interface ChaosWriterOptions {
  readonly writer: number;
  readonly databaseUrl: string;
  readonly ledger: Ledger;
  readonly random: () => number;
  readonly audiences: readonly string[][];
}
