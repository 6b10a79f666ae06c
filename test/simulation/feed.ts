import type { Connection } from '../../src/connections/connection.ts';
import type {
  ConnectionDirectory,
  ConnectionFeed,
} from '../../src/connections/connection-directory.ts';
import type { SimulatedTable } from './gateway.ts';
import type { VirtualProcess, VirtualTime } from './virtual-time.ts';

const REFRESH_MS = 700;

/** Scans the simulated table, as ScanFeed does: each item is read at some moment of the scan. */
export class SimulatedFeed implements ConnectionFeed {
  readonly #deps: FeedDeps;
  #stopped = false;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#round(resolve));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
  }

  #round(tableRead: () => void): void {
    const { time, process, table, directory } = this.#deps;
    if (this.#stopped) return;
    directory.expire(process.epochMs());
    const beganAt = process.epochMs();
    const first = new Map(table.items);
    const fails = table.fails;
    time.after(time.between(5, 120), () => {
      const seen: Connection[] = [];
      for (const id of new Set([...first.keys(), ...table.items.keys()])) {
        const item = (time.chance(0.5) ? first : table.items).get(id);
        if (item) seen.push({ ...item });
      }
      process.run(() => {
        if (this.#stopped) return;
        if (fails) directory.readFailed();
        else {
          directory.replaceAll(seen, beganAt);
          tableRead();
        }
        process.after(REFRESH_MS, () => this.#round(tableRead));
      });
    });
  }
}

export interface FeedDeps {
  readonly time: VirtualTime;
  readonly process: VirtualProcess;
  readonly table: SimulatedTable;
  readonly directory: ConnectionDirectory;
}
