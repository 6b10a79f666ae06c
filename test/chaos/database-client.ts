import { setTimeout } from 'node:timers/promises';
import pg from 'pg';

/** A client of the application's that connects again when the database goes away. */
export abstract class DatabaseClient {
  readonly #databaseUrl: string;
  #stopping = false;

  constructor(databaseUrl: string) {
    this.#databaseUrl = databaseUrl;
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Resolves when it was stopped, and its last transaction is over. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      const client = new pg.Client({
        connectionString: this.#databaseUrl,
        connectionTimeoutMillis: 2000,
      });
      client.on('error', () => undefined);
      try {
        await client.connect();
        await this.connected(client);
        while (!this.#stopping) await this.transaction(client);
      } catch {
        await setTimeout(200);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  /** Before the first transaction of a connection. */
  protected async connected(_client: pg.Client): Promise<void> {}

  protected abstract transaction(client: pg.Client): Promise<void>;
}
