import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { type Fetched, liveList } from '../../src/list/live-list.ts';
import { formatCursor } from '../../src/protocol/cursor.ts';
import { type FakeFrame, fakeFeed } from '../../src/testing/fake-feed.ts';

/**
 * A table and its relay as a model: transactions begin in one order and commit in another, the
 * relay reads windows, fetches come from replicas that lag, sockets are cut. After each step the
 * list must be a state that the table has had, and none before the last one seen.
 */

interface Row {
  id: number;
  version: number;
}
type Change = { kind: 'NEW' | 'UPDATE' | 'DELETE'; row: Row };
interface Transaction {
  readonly xid: bigint;
  readonly change: Change;
}

const TAG = 'fa4efeed';
const MOST_ROWS = 6;

class Table {
  /** After each commit; the first is before any. */
  readonly states: string[] = ['[]'];
  /** By commit. */
  readonly committed: Transaction[] = [];
  readonly open: Transaction[] = [];
  readonly #rows = new Map<number, Row>();
  #nextXid = 100n;
  #nextId = 1;

  begin(what: number): void {
    const free = [...this.#rows.values()].filter(
      ({ id }) => !this.open.some(({ change }) => change.row.id === id),
    );
    const row = free[what % (free.length || 1)];
    const kind = !row || what % 3 === 0 ? 'NEW' : what % 3 === 1 ? 'UPDATE' : 'DELETE';
    if (kind === 'NEW' && this.#rows.size + this.open.length >= MOST_ROWS) return;
    const change: Change =
      kind === 'NEW' || !row
        ? { kind: 'NEW', row: { id: this.#nextId++, version: 1 } }
        : { kind, row: { id: row.id, version: row.version + 1 } };
    this.open.push({ xid: this.#nextXid++, change });
  }

  commit(which: number): void {
    const [transaction] = this.open.splice(which % (this.open.length || 1), 1);
    if (!transaction) return;
    const { kind, row } = transaction.change;
    if (kind === 'DELETE') this.#rows.delete(row.id);
    else this.#rows.set(row.id, row);
    this.committed.push(transaction);
    this.states.push(stateOf([...this.#rows.values()]));
  }

  /** @param ago so many commits */
  snapshot(ago = 0): { rows: Row[]; cursor: string } {
    const moment = Math.max(0, this.committed.length - ago);
    const seen = new Set(this.committed.slice(0, moment).map(({ xid }) => xid));
    const last = [...seen].reduce((most, xid) => (xid > most ? xid : most), 99n);
    const xip: bigint[] = [];
    for (let xid = 100n; xid <= last; xid++) if (!seen.has(xid)) xip.push(xid);
    const xmin = xip[0] ?? last + 1n;
    return {
      rows: JSON.parse(this.states[moment] as string) as Row[],
      cursor: formatCursor({ xmin, xmax: last + 1n, xip }, TAG),
    };
  }
}

function stateOf(rows: readonly Row[]): string {
  return JSON.stringify([...rows].sort((a, b) => a.id - b.id));
}

/** Windows that were read, each with where it started. */
class Relay {
  readonly #table: Table;
  readonly windows: FakeFrame[][] = [];
  #read = 0;
  #id = 1;

  constructor(table: Table) {
    this.#table = table;
  }

  /** In the order of writing, which is not that of the commits. */
  read(): FakeFrame[] {
    const { cursor } = this.#table.snapshot(this.#table.committed.length - this.#read);
    const found = this.#table.committed.slice(this.#read).sort((a, b) => Number(a.xid - b.xid));
    this.#read = this.#table.committed.length;
    const frames = found.map(({ xid, change: { kind, row } }) => ({
      id: String(this.#id++),
      type: `${kind}_ROW`,
      data: row,
      tx: String(xid),
      cursor,
    }));
    if (frames.length > 0) this.windows.push(frames);
    return frames;
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ begin: fc.nat(30) }) },
  { weight: 4, arbitrary: fc.record({ commit: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.constant({ window: true as const }) },
  { weight: 3, arbitrary: fc.record({ fetched: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.constant({ refresh: true as const }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ wait: true as const }) },
);

test('after each step the list is a state that the table had, never an earlier one than before, and at last the table', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let shown = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      const table = new Table();
      const relay = new Relay(table);
      for (let n = 0; n < 4; n++) {
        table.begin(n * 3);
        table.commit(0);
      }
      relay.read();
      const { feed, push, cut } = fakeFeed();
      const answers: ((fetched: Fetched<Row>) => void)[] = [];
      const list = liveList<Row>(feed, {
        entity: 'ROW',
        fetch: () => new Promise((resolve) => answers.push(resolve)),
      });
      let moment = 0;
      const wrong: string[] = [];
      const check = () => {
        if (list.status === 'loading' || list.exact === null) return;
        shown++;
        const state = stateOf(list.rows);
        const found = table.states.findIndex((each, at) => at >= moment && each === state);
        if (found < 0) wrong.push(`${state} after ${table.states[moment]}`);
        else moment = found;
      };
      list.subscribe(check);
      const settle = (ms = 1) => vi.advanceTimersByTimeAsync(ms);
      const announce = (recovered: boolean) => {
        const { cursor } = table.snapshot();
        push({ type: 'READY', recovered, cursor } as never);
      };
      /** A window that is read goes out; one that the socket was cut for comes again. */
      const window = () => {
        const frames = relay.read();
        if (frames.length > 0) push(...frames);
      };
      window();
      announce(true);
      await settle();
      for (const each of steps) {
        if ('begin' in each) table.begin(each.begin);
        else if ('commit' in each) table.commit(each.commit);
        else if ('window' in each) window();
        else if ('fetched' in each) answers.shift()?.(table.snapshot(each.fetched));
        else if ('refresh' in each) void list.refresh();
        else if ('wait' in each) await settle(40_000);
        else {
          cut();
          await settle();
          // Half of the replays are not whole: what was missed does not come.
          if (each.cut) for (const frames of relay.windows.slice(-3)) push(...frames);
          window();
          announce(each.cut);
        }
        await settle();
      }
      while (table.open.length > 0) table.commit(0);
      window();
      await settle();
      for (let n = 0; n < 5; n++) {
        for (const answer of answers.splice(0)) answer(table.snapshot());
        await settle(40_000);
      }
      expect([list.status, stateOf(list.rows)]).toEqual(['live', table.states.at(-1)]);
      expect(wrong).toEqual([]);
      list.close();
      feed.close();
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 3000), endOnFailure: false },
  );
  expect(shown).toBeGreaterThan(1000);
});
