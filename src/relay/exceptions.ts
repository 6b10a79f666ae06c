import type { Connection } from '../connections/connection.ts';
import { Snapshot } from '../log/snapshot.ts';

/**
 * The connections that the cursor's row names, because the cursor alone would say something wrong
 * of them. Stored as
 *
 *     {"pinned":{"<snapshot>":[name, …]},"served":[name, …],"unserved":[name, …],"more":true}
 *
 * where a name is `<connectedAt> <connectionId>`.
 */
export class Exceptions {
  /** Missing something that the cursor sees, each with the place up to which it has everything. */
  readonly pinned = new Map<string, Snapshot>();
  /** Made after `served_until`, and served. */
  readonly served = new Set<string>();
  /** Made before `served_until`, and not served. */
  readonly unserved = new Set<string>();
  /**
   * A young connection that is not named may have been served all the same: there were too many to
   * name, or the log's place at `served_until` is not known.
   */
  more = false;

  /** @param text as it was committed */
  static parse(text: string): Exceptions {
    const stored = JSON.parse(text) as Partial<StoredExceptions>;
    const { pinned = {}, served = [], unserved = [], more = false } = stored;
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
