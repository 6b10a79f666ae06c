/** The process that commands run in. Nothing else ends it, or listens to its signals. */
import { errorText } from '../error-text.ts';

/** ECS waits 30 s after SIGTERM. The next relay delivers what is still in flight by then. */
const STOP_DEADLINE_MS = 25_000;

/** Runs a command. An error becomes one text on stderr, with its causes, and exit code 1. */
export async function run(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.stderr.write(`rowcast: ${errorText(error)}\n`);
    process.exit(1);
  }
}

/** A second signal, or a stop that takes too long, ends the process at once. */
export function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130);
      stopping = true;
      setTimeout(() => {
        process.stderr.write(
          `rowcast: did not stop within ${STOP_DEADLINE_MS / 1000} s; ending at once\n`,
        );
        process.exit(1);
      }, STOP_DEADLINE_MS).unref();
      stop().then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`rowcast: could not stop cleanly: ${errorText(error)}\n`);
          process.exit(1);
        },
      );
    });
  }
}

/** Ends the process when the reader of its output is gone, as in `rowcast tail | head`. */
export function endWithReader(): void {
  process.stdout.on('error', () => process.exit(0));
}

/** Ends the process with its parent, a `rowcast dev` that was killed. */
export function endWithParent(): void {
  process.on('disconnect', () => process.exit(1));
}

/** Goes on when the reader of its output is gone: a relay must not end for a log line. */
export function keepOnWithoutReader(): void {
  process.stdout.on('error', () => undefined);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a line beside the output, to stderr. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
