import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: './drizzle/schema.ts',
  dbCredentials: { url: process.env.DATABASE_URL ?? '' },
  // `push` drops what its schema does not name: Rowcast's schema and tables are not its own.
  schemaFilter: ['public'],
  tablesFilter: ['!messages', '!complaints'],
});
