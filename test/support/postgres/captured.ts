import { beforeEach, onTestFinished } from 'vitest';
import { TestDatabase } from './database.ts';

/** A database of its own for each test of a file, and what was captured in it. */
export function databaseOfEachTest() {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await TestDatabase.create();
    onTestFinished(() => database.close());
  });
  const sql: TestDatabase['sql'] = (text, values) => database.sql(text, values);
  return {
    sql,
    client: () => database.client(),
    /** Each event as `TYPE data`, or `TYPE data < old`. */
    async events(): Promise<string[]> {
      const rows = await sql<{ type: string; data: string | null; old: string | null }>(
        'select type, data::text, old::text from rowcast.event order by id',
      );
      return rows.map(({ type, data, old }) => `${type} ${data}${old === null ? '' : ` < ${old}`}`);
    },
    /** A table `item` of `id` and `n`. */
    async watchedItems(options = ''): Promise<void> {
      await sql('create table item (id int primary key, n int)');
      await sql(`select rowcast.watch('item'${options})`);
    },
  };
}
