import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { type Fetched, liveList } from '../../src/list/live-list.ts';
import { formatCursor } from '../../src/protocol/cursor.ts';
import { type FakeFrame, fakeFeed } from '../../src/testing/fake-feed.ts';

/**
 * A table and its relay as a model: transactions begin in one order and commit in another, keys
 * move and are swapped, rows are too large to send, the relay reads windows, fetches come from
 * replicas that lag, sockets are cut, the database is set back. After each step the list must be a
 * state that the table has had, and none before the last one seen.
 */

interface Row {
  id: number;
  version: number;
}
interface Change {
  readonly kind: 'NEW' | 'UPDATE' | 'DELETE';
  readonly row: Row;
  readonly old?: { readonly id: number };
  readonly isLarge?: boolean;
}
interface Transaction {
  readonly xid: bigint;
  readonly changes: readonly Change[];
  readonly touches: readonly number[];
}

const MOST_ROWS = 6;

class Table {
  /** After each commit; the first is before any. Setting the database back is one more. */
  readonly states: string[] = ['[]'];
  /** By commit, since the database was last set back. */
  committed: Transaction[] = [];
  open: Transaction[] = [];
  tag = 'fa4efeed';
  #rows = new Map<number, Row>();
  #start = 0;
  #nextXid = 100n;
  #nextId = 1;
  #lastVersion = 0;

  begin(what: number): void {
    const free = [...this.#rows.values()].filter(
      ({ id }) => !this.open.some(({ touches }) => touches.includes(id)),
    );
    const changes = this.#changes(what % 7, free[what % (free.length || 1)], free);
    if (changes.length === 0) return;
    const touches = changes.flatMap(({ row, old }) => [row.id, old?.id ?? row.id]);
    this.open.push({ xid: this.#nextXid++, changes, touches });
  }

  #changes(kind: number, row: Row | undefined, free: readonly Row[]): Change[] {
    if (kind < 2 || !row) {
      if (this.#rows.size + this.open.length >= MOST_ROWS) return [];
      return [{ kind: 'NEW', row: { id: this.#nextId++, version: ++this.#lastVersion } }];
    }
    const next = { id: row.id, version: ++this.#lastVersion };
    if (kind === 2) return [{ kind: 'DELETE', row: next }];
    if (kind === 3) return [{ kind: 'UPDATE', row: next, isLarge: true }];
    if (kind === 4) return [{ kind: 'UPDATE', row: { ...next, id: this.#nextId++ }, old: row }];
    const other = free.find(({ id }) => id !== row.id);
    if (kind === 5 && other)
      return [
        { kind: 'UPDATE', row: { ...next, id: other.id }, old: { id: row.id } },
        {
          kind: 'UPDATE',
          row: { id: row.id, version: ++this.#lastVersion },
          old: { id: other.id },
        },
      ];
    return [{ kind: 'UPDATE', row: next }];
  }

  commit(which: number): void {
    const [transaction] = this.open.splice(which % (this.open.length || 1), 1);
    if (!transaction) return;
    const { changes } = transaction;
    for (const { kind, row, old } of changes)
      this.#rows.delete(old?.id ?? (kind === 'DELETE' ? row.id : -1));
    for (const { kind, row } of changes) if (kind !== 'DELETE') this.#rows.set(row.id, row);
    this.committed.push(transaction);
    this.states.push(stateOf([...this.#rows.values()]));
  }

  row(id: number): Row | undefined {
    return this.#rows.get(id);
  }

  /** @param ago so many commits */
  setBack(ago: number): void {
    const state = this.states[this.#start + Math.max(0, this.committed.length - ago)] as string;
    this.#rows = new Map((JSON.parse(state) as Row[]).map((row) => [row.id, row]));
    this.states.push(state);
    this.#start = this.states.length - 1;
    this.committed = [];
    this.open = [];
    this.#nextXid = 100n;
    this.tag = (Number.parseInt(this.tag, 16) - 1).toString(16);
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
      rows: JSON.parse(this.states[this.#start + moment] as string) as Row[],
      cursor: formatCursor({ xmin, xmax: last + 1n, xip }, this.tag),
    };
  }
}

function stateOf(rows: readonly Row[]): string {
  return JSON.stringify([...rows].sort((a, b) => a.id - b.id));
}

/**
 * A row that is fetched parts a window in two, which may show states between those of commits: each
 * row must go forward.
 */
function returnedRows(): (rows: readonly Row[]) => string[] {
  const latest = new Map<number, number>();
  let shown = new Set<number>();
  return (rows) => {
    const older = rows.filter(({ id, version }) => {
      const known = latest.get(id) ?? 0;
      return version < known || (version === known && !shown.has(id));
    });
    shown = new Set(rows.map(({ id }) => id));
    for (const { id, version } of rows) latest.set(id, version);
    return older.map(({ id, version }) => `row ${id} went back to ${version}`);
  };
}

/** Windows that were read, each with where it started. */
class Relay {
  readonly #table: Table;
  windows: FakeFrame[][] = [];
  #read = 0;
  #id = 1;

  constructor(table: Table) {
    this.#table = table;
  }

  /** The database was set back. */
  startOver(): void {
    this.windows = [];
    this.#read = 0;
    this.#id = 1;
  }

  /** In the order of writing, which is not that of the commits. */
  read(): FakeFrame[] {
    const { cursor } = this.#table.snapshot(this.#table.committed.length - this.#read);
    const found = this.#table.committed.slice(this.#read).sort((a, b) => Number(a.xid - b.xid));
    this.#read = this.#table.committed.length;
    const frames = found.flatMap(({ xid, changes }) =>
      changes.map(({ kind, row, old, isLarge }) => ({
        id: String(this.#id++),
        type: `${kind}_ROW`,
        data: isLarge ? { id: row.id } : row,
        ...(old && { old: { id: old.id } }),
        ...(isLarge && { truncated: true }),
        tx: String(xid),
        cursor,
      })),
    );
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
  { weight: 1, arbitrary: fc.record({ setBack: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.constant({ wait: true as const }) },
);

const beginning = fc.record({
  initial: fc.constantFrom('none', 'rows', 'snapshot'),
  ago: fc.nat(3),
  isLive: fc.boolean(),
  fetchesRows: fc.boolean(),
});

test('after each step the list is a state that the table had, never an earlier one than before, and at last the table', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let shown = 0;
  await fc.assert(
    fc.asyncProperty(
      beginning,
      fc.array(step, { minLength: 5, maxLength: 60 }),
      async (begun, steps) => {
        const table = new Table();
        const relay = new Relay(table);
        for (let n = 0; n < 4; n++) {
          table.begin(n * 7);
          table.commit(0);
        }
        relay.read();
        const { feed, push, cut } = fakeFeed(
          begun.fetchesRows
            ? { fetchRow: async ({ data }) => table.row((data as Row).id) ?? null }
            : {},
        );
        const settle = (ms = 1) => vi.advanceTimersByTimeAsync(ms);
        const announce = (recovered: boolean) => {
          const { cursor } = table.snapshot();
          push({ type: 'READY', recovered, cursor } as never);
        };
        if (begun.isLive) {
          announce(true);
          await settle();
        }
        const answers: ((fetched: Fetched<Row>) => void)[] = [];
        const { rows, cursor } = table.snapshot(begun.ago);
        const list = liveList<Row>(feed, {
          entity: 'ROW',
          fetch: () => new Promise((resolve) => answers.push(resolve)),
          ...(begun.initial === 'rows' && { initial: rows }),
          ...(begun.initial === 'snapshot' && { initial: { rows, cursor } }),
        });
        let moment = 0;
        const returned = returnedRows();
        const wrong: string[] = [];
        const check = () => {
          if (list.status === 'loading' || list.exact === null) return;
          shown++;
          if (begun.fetchesRows) {
            wrong.push(...returned(list.rows));
            return;
          }
          const state = stateOf(list.rows);
          const found = table.states.findIndex((each, at) => at >= moment && each === state);
          if (found < 0) wrong.push(`${state} after ${table.states[moment]}`);
          else moment = found;
        };
        list.subscribe(check);
        /** A window that is read goes out; one that the socket was cut for comes again. */
        const window = () => {
          const frames = relay.read();
          if (frames.length > 0) push(...frames);
        };
        window();
        if (!begun.isLive) announce(true);
        await settle();
        for (const each of steps) {
          if ('begin' in each) table.begin(each.begin);
          else if ('commit' in each) table.commit(each.commit);
          else if ('window' in each) window();
          else if ('fetched' in each) answers.shift()?.(table.snapshot(each.fetched));
          else if ('refresh' in each) void list.refresh();
          else if ('wait' in each) await settle(40_000);
          else if ('setBack' in each) {
            if (begun.fetchesRows) continue;
            cut();
            await settle();
            table.setBack(each.setBack);
            relay.startOver();
            announce(false);
          } else {
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
      },
    ),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 3000), endOnFailure: false },
  );
  expect(shown).toBeGreaterThan(1000);
});
