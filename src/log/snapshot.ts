import { isWithin, sees } from '../protocol/snapshot.ts';

/**
 * A `pg_snapshot`: the set of transactions that are over for it. Text form `xmin:xmax:xip,…`
 * (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS).
 *
 * Snapshots are a lattice and not a line. `100:100:` and `100:105:100,102` each is missing what
 * the other has, so no test of their parts says which is "before". Two relations exist: `isWithin`,
 * a partial order, and `meet`.
 */
export class Snapshot {
  /** As Postgres prints it, and as it is handed back. */
  readonly text: string;
  /** Every transaction below is over. */
  readonly xmin: bigint;
  /** Every transaction from here on had not begun. */
  readonly xmax: bigint;
  /** Transactions between xmin and xmax that were in flight, in ascending order. */
  readonly xip: readonly bigint[];

  constructor(xmin: bigint, xmax: bigint, xip: readonly bigint[]) {
    this.text = `${xmin}:${xmax}:${xip.join(',')}`;
    this.xmin = xmin;
    this.xmax = xmax;
    this.xip = xip;
  }

  /** @throws on text that is not a snapshot */
  static parse(text: string): Snapshot {
    const match = /^(\d+):(\d+):([\d,]*)$/.exec(text);
    if (!match) throw new Error(`not a pg_snapshot: ${text}`);
    const [, xmin, xmax, xip] = match as unknown as [string, string, string, string];
    return new Snapshot(BigInt(xmin), BigInt(xmax), xip === '' ? [] : xip.split(',').map(BigInt));
  }

  /** The snapshot with the given parts, such as those of a client's cursor. */
  static of(parts: Pick<Snapshot, 'xmin' | 'xmax' | 'xip'>): Snapshot {
    return parts instanceof Snapshot ? parts : new Snapshot(parts.xmin, parts.xmax, parts.xip);
  }

  /** Sees what every one of the snapshots sees, and nothing else. @param snapshots at least one */
  static meet(snapshots: readonly Snapshot[]): Snapshot {
    const xmax = snapshots.reduce(
      (least, each) => (each.xmax < least ? each.xmax : least),
      snapshots[0]?.xmax ?? 1n,
    );
    const inFlight = new Set(snapshots.flatMap(({ xip }) => xip.filter((xid) => xid < xmax)));
    const xip = [...inFlight].sort((a, b) => (a < b ? -1 : 1));
    return new Snapshot(xip[0] ?? xmax, xmax, xip);
  }

  meet(other: Snapshot): Snapshot {
    if (this.isWithin(other)) return this;
    if (other.isWithin(this)) return other;
    return Snapshot.meet([this, other]);
  }

  /** Everything that this sees, `other` sees too. */
  isWithin(other: Snapshot): boolean {
    return this.text === other.text || isWithin(this, other);
  }

  /** The transaction is over as far as this snapshot knows (committed or not). */
  sees(xid: bigint): boolean {
    return sees(this, xid);
  }
}
