import { defineConfig } from 'vitest/config';

// Each synthesis takes a second or two.
export default defineConfig({ test: { include: ['test/**/*.test.ts'], testTimeout: 60_000 } });
