import { bigint, pgTable, text } from 'drizzle-orm/pg-core';

/** Drizzle's: with a column more than schema.sql, which `drizzle-kit push` adds. */
export const orders = pgTable('orders', {
  id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  customerId: bigint('customer_id', { mode: 'number' }).notNull(),
  item: text().notNull(),
  status: text().notNull().default('open'),
  note: text(),
});
