import type { Connection } from '../connections/connection.ts';
import { Snapshot } from '../log/snapshot.ts';

/**
 * The connections that the cursor's row names, because the cursor alone says something else of them than is true: those
 * that lack something of what it sees, each with its own place (its pin); young ones that have had their replay; and old
 * ones that have not.
 *
 * In the row: `{"pinned":{"<snapshot>":[name, …]},"served":[name, …],"unserved":[name, …],"more":true}`, where a name is
 * `<connectedAt> <connectionId>`. `more`: there were too many to name, or the log's place at `served_until` is not known.
 */
export class Exceptions {
  readonly pinned = new Map<string, Snapshot>();
  /** Made after `served_until`, and served. */
  readonly served = new Set<string>();
  /** Made before `served_until`, and not served. */
  readonly unserved = new Set<string>();
  /** A young connection that is not named may have had its replay all the same. */
  more = false;

  /** @param text as it was committed */
  static parse(text: string): Exceptions {
    const {
      pinned = {},
      served = [],
      unserved = [],
      more = false,
    } = JSON.parse(text) as Partial<StoredExceptions>;
    const exceptions = new Exceptions();
    for (const [pin, names] of Object.entries(pinned))
      for (const name of names) exceptions.pinned.set(name, Snapshot.parse(pin));
    for (const name of served) exceptions.served.add(name);
    for (const name of unserved) exceptions.unserved.add(name);
    exceptions.more = more;
    return exceptions;
  }

  get size(): number {
    return this.pinned.size + this.served.size + this.unserved.size;
  }

  toString(): string {
    const pinned: Record<string, string[]> = {};
    for (const [name, { text }] of this.pinned) {
      pinned[text] ??= [];
      pinned[text].push(name);
    }
    const stored: StoredExceptions = {
      pinned,
      served: [...this.served],
      unserved: [...this.unserved],
      more: this.more,
    };
    return JSON.stringify(stored);
  }
}

/** An id that was used again is another connection. */
export function nameOf({ connectionId, connectedAt }: Connection): string {
  return `${connectedAt} ${connectionId}`;
}

interface StoredExceptions {
  readonly pinned: Readonly<Record<string, readonly string[]>>;
  readonly served: readonly string[];
  readonly unserved: readonly string[];
  readonly more: boolean;
}
