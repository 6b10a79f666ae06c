/**
 * A `pg_snapshot` as the cursor uses it: which transactions are visible to it. Text form `xmin:xmax:xip,…`
 * (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS).
 */
export class Snapshot {
  /** As Postgres prints it, and as it is handed back. */
  readonly text: string;
  /** Every transaction below is over. */
  readonly xmin: bigint;
  /** Every transaction from here on had not begun. */
  readonly xmax: string;
  /** Transactions between xmin and xmax that were in flight, in decimal. */
  readonly xip: readonly string[];

  private constructor(text: string, xmin: bigint, xmax: string, xip: readonly string[]) {
    this.text = text;
    this.xmin = xmin;
    this.xmax = xmax;
    this.xip = xip;
  }

  /** @throws on what is no snapshot */
  static parse(text: string): Snapshot {
    const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
    if (!match) throw new Error(`not a pg_snapshot: ${text}`);
    const [, xmin, xmax, xip] = match as unknown as [string, string, string, string];
    return new Snapshot(text, BigInt(xmin), xmax, xip === '' ? [] : xip.split(','));
  }

  /** The snapshot that sees exactly the transactions below `xid`: where a client's cursor resumes. */
  static before(xid: bigint): Snapshot {
    return new Snapshot(`${xid}:${xid}:`, xid, String(xid), []);
  }
}
