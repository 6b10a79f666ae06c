/** A row of the log as text. Nothing of it is parsed on its way to the client. */
export interface LoggedEvent {
  readonly id: string;
  /** The writer's transaction. */
  readonly xid: string;
  readonly type: string;
  readonly audience: readonly string[];
  /** Null without data, and where data and old together are longer than `maxDataBytes`. */
  readonly data: string | null;
  readonly old: string | null;
  /**
   * Data or old was left out for its size, here or already by the writer's trigger; `key` names the
   * row.
   */
  readonly oversize: boolean;
  readonly key: string | null;
  /** Epoch milliseconds in decimal. */
  readonly timestamp: string;
  /** Why the row is not here as it was written; null where it is. */
  readonly problem: string | null;
}
