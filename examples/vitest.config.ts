import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Each file starts a system of its own; a browser on a busy machine is slow.
  test: { include: ['test/*.test.ts'], testTimeout: 60_000, hookTimeout: 120_000 },
});
