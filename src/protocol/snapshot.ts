import type { CursorSnapshot } from './cursor.ts';

/** The transaction is over as far as `snapshot` knows (committed or not). */
export function sees({ xmax, xip }: CursorSnapshot, xid: bigint): boolean {
  return xid < xmax && xip[countBelow(xip, xid)] !== xid;
}

/**
 * Everything that `one` sees, `other` sees too: `one` sees nothing that is in flight for `other`,
 * nor anything from its end on. A partial order: see log/snapshot.ts.
 */
export function isWithin(one: CursorSnapshot, other: CursorSnapshot): boolean {
  const unseen = one.xip.filter((xid) => xid >= other.xmax).length;
  return !other.xip.some((xid) => sees(one, xid)) && BigInt(unseen) >= one.xmax - other.xmax;
}

/**
 * How many of the transactions in flight are below `xid`; by halves, because there may be
 * thousands.
 */
function countBelow(xip: readonly bigint[], xid: bigint): number {
  let low = 0;
  let high = xip.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((xip[middle] as bigint) < xid) low = middle + 1;
    else high = middle;
  }
  return low;
}
