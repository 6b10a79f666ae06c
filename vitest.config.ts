import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup.ts'],
    pool: 'forks',
    // Most of a test's time is waiting for another process.
    maxWorkers: 4,
    // Time-outs of the parts under test are real; on a machine that stalls one may pass. Retries are reported.
    retry: process.env.CI ? 1 : 0,
    // What a test waits for comes within milliseconds, or after a retry of the part under test.
    expect: { poll: { interval: 20, timeout: 15_000 } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
