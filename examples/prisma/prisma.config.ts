// For Prisma 7: `npx prisma migrate dev --config prisma/prisma.config.ts`
import { defineConfig, env } from 'prisma/config';

export default defineConfig({
  schema: 'schema.prisma',
  datasource: { url: env('DATABASE_URL') },
  // Rowcast's tables in `public` are neither drift nor to be dropped.
  experimental: { externalTables: true },
  tables: { external: ['public.messages', 'public.complaints'] },
});
