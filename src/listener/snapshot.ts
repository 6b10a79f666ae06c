/**
 * A `pg_snapshot`: which transactions are visible to it. Text form `xmin:xmax:xip,…`
 * (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS).
 */
export class Snapshot {
  /** As Postgres prints it, and as it is handed back. */
  readonly text: string;
  /** Every transaction below is over. */
  readonly xmin: bigint;
  /** Every transaction from here on had not begun. */
  readonly xmax: bigint;
  /** Transactions between xmin and xmax that were in flight, in their order. */
  readonly xip: readonly bigint[];

  constructor(xmin: bigint, xmax: bigint, xip: readonly bigint[]) {
    this.text = `${xmin}:${xmax}:${xip.join(',')}`;
    this.xmin = xmin;
    this.xmax = xmax;
    this.xip = xip;
  }

  /** @throws on what is no snapshot */
  static parse(text: string): Snapshot {
    const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
    if (!match) throw new Error(`not a pg_snapshot: ${text}`);
    const [, xmin, xmax, xip] = match as unknown as [string, string, string, string];
    return new Snapshot(BigInt(xmin), BigInt(xmax), xip === '' ? [] : xip.split(',').map(BigInt));
  }

  /** What every one of the snapshots sees, and nothing else. */
  static intersection(snapshots: readonly Snapshot[]): Snapshot {
    const xmax = snapshots.reduce((least, each) => (each.xmax < least ? each.xmax : least), snapshots[0]?.xmax ?? 1n);
    const inFlight = new Set(snapshots.flatMap(({ xip }) => xip.filter((xid) => xid < xmax)));
    const xip = [...inFlight].sort((a, b) => (a < b ? -1 : 1));
    return new Snapshot(xip[0] ?? xmax, xmax, xip);
  }

  /** Of two that one reader took one after the other: this is the earlier. */
  isBefore(other: Snapshot): boolean {
    return this.xmax < other.xmax || this.xmin < other.xmin || this.xip.length > other.xip.length;
  }

  /** The transaction is over as far as this snapshot knows (committed or not). */
  sees(xid: bigint): boolean {
    return xid < this.xmin || (xid < this.xmax && !this.xip.includes(xid));
  }
}
