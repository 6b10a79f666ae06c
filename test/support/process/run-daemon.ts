import { onTestFinished } from 'vitest';
import { Daemon } from './daemon.ts';

/** A command in a process of its own, that does not outlive its test. */
export function runDaemon(...args: ConstructorParameters<typeof Daemon>): Daemon {
  const daemon = new Daemon(...args);
  onTestFinished(() => daemon.kill());
  return daemon;
}
