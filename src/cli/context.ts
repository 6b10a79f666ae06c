import type { DatabaseSettings } from '../database.ts';
import type { RelayInspector } from '../telemetry/relay-inspector.ts';
import type { Terminal } from './terminal.ts';

/** What the commands that look at a running system share. */
export interface CommandContext {
  readonly database: DatabaseSettings;
  readonly inspector: RelayInspector;
  readonly terminal: Terminal;
  /** Writes a line beside the output, to stderr. */
  note(line: string): void;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}
