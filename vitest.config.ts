import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup.ts'],
    pool: 'forks',
    // Most of a test's time is waiting for another process.
    maxWorkers: 4,
    // A test waits for events. These limits only end one that waits for nothing, on any machine.
    retry: 0,
    expect: { poll: { interval: 20, timeout: 120_000 } },
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
