import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import type { Ledger } from './ledger.ts';

const ISOLATION_LEVELS = ['read committed', 'repeatable read', 'serializable'];

/** An application that writes, and notes what it knows to be committed. Reconnects when the database goes away. */
export class ChaosWriter {
  readonly #options: ChaosWriterOptions;
  #number = 0;
  #stopping = false;

  constructor(options: ChaosWriterOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopping = true;
  }

  async run(): Promise<void> {
    while (!this.#stopping) {
      const client = new pg.Client({ connectionString: this.#options.databaseUrl, connectionTimeoutMillis: 2000 });
      client.on('error', () => undefined);
      try {
        await client.connect();
        while (!this.#stopping) await this.#transaction(client);
      } catch {
        await setTimeout(200);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  async #transaction(client: pg.Client): Promise<void> {
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
      await client.query(`select rowcast.send('chaos', json_build_object('key', $1::text), $2)`, [key, audience]);
      ledger.events.set(key, { writer, number, audience, begunAt, certain: false });
      keys.push(key);
    }
    if (below(50) === 0) await client.query('select pg_sleep(1)');
    if (below(10) === 0) {
      await client.query('rollback');
      for (const key of keys) ledger.events.delete(key);
      return;
    }
    await client.query('commit');
    for (const key of keys) (ledger.events.get(key) as { certain: boolean }).certain = true;
    await setTimeout(below(30));
  }
}

export interface ChaosWriterOptions {
  readonly writer: number;
  readonly databaseUrl: string;
  readonly ledger: Ledger;
  readonly random: () => number;
  readonly audiences: readonly string[][];
}
