import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatewaySink } from '../support/gateway/gateway-sink.ts';
import { World } from '../support/world.ts';

/**
 * Random tables, audiences, rows and connections, through a real Postgres, table and relay: who
 * receives what is exactly what this plain model says. It shares no code with what it checks.
 */

/** Names that break whoever takes them for something else than text. */
const NAMES = [
  'bob',
  'a b',
  '__proto__',
  'constructor',
  "o'brien'; drop table t; --",
  '<a>',
  '🚀',
  'a:b',
  '*',
  '\u0001',
  '%s',
  'x'.repeat(189),
  '{"',
  'all',
];
const name = fc.constantFrom(...NAMES);
const id = fc.constantFrom('c1=', '__proto__', 'a/b+c=', 'toString');
const value = fc.option(name, { nil: null });
const column = fc.constantFrom('a', 'b');
type Kind = 'user' | 'room' | 'role' | 'connection';
const kind = fc.constantFrom<Kind>('user', 'room', 'role', 'connection');

/** A term of watch(): of everybody, of a name, of a column, or of both. */
const template = fc.oneof(
  fc.constant('all'),
  fc.tuple(kind, fc.constantFrom('bob', 'a b', 'admin')).map(([k, n]) => `${k}:${n}`),
  fc.tuple(kind, column).map(([k, c]) => `${k}:<${c}>`),
  fc.tuple(kind, column, column).map(([k, c, d]) => `${k}:<${c}>-<${d}>`),
);
/** A term that leaves out a name; no term is longer than 200 bytes. */
const without = fc
  .tuple(kind, name)
  .map(([k, n]) => `!${k}:${n}`)
  .filter((term) => term.length <= 200);
const exception = fc.oneof(
  without,
  fc.tuple(kind, column).map(([k, c]) => `!${k}:<${c}>`),
);
const member = fc.record({
  userId: name,
  rooms: fc.uniqueArray(name, { maxLength: 3 }),
  roles: fc.uniqueArray(name, { maxLength: 2 }),
});
type Member = { userId: string; rooms: string[]; roles: string[] };
type Row = { id: number; a: string | null; b: string | null };

const change = fc.oneof(
  fc.record({ what: fc.constant('insert' as const), a: value, b: value }),
  fc.record({ what: fc.constant('update' as const), row: fc.nat(), a: value, b: value }),
  fc.record({ what: fc.constant('delete' as const), row: fc.nat() }),
  fc.record({
    what: fc.constant('send' as const),
    terms: fc.array(fc.tuple(kind, name), { minLength: 1, maxLength: 3 }),
    without: fc.array(without, { maxLength: 1 }),
  }),
);
const phase = fc.record({
  /** Who comes, under which id: one that is in use goes to the new member. */
  joins: fc.uniqueArray(fc.tuple(id, member), {
    maxLength: 2,
    selector: ([connectionId]) => connectionId,
  }),
  leaves: fc.array(id, { maxLength: 1 }),
  changes: fc.array(change, { minLength: 1, maxLength: 8 }),
});
const scenario = fc.record({
  audience: fc
    .tuple(
      fc.array(template, { minLength: 1, maxLength: 3 }),
      fc.array(exception, { maxLength: 1 }),
    )
    .map((terms) => terms.flat()),
  columns: fc.option(fc.constantFrom(['id'], ['id', 'a']), { nil: null }),
  phases: fc.array(phase, { minLength: 1, maxLength: 3 }),
});

function termsOfRow(audience: readonly string[], row: Row): string[] {
  return audience.flatMap((each) => {
    let term = each;
    for (const c of ['a', 'b'] as const) {
      if (!each.includes(`<${c}>`)) continue;
      if (row[c] === null) return [];
      term = term.split(`<${c}>`).join(row[c]);
    }
    return Buffer.byteLength(term) > 200 ? [] : [term];
  });
}

/** An update is for whom the row before or after it is for. */
function isFor({ audiences }: Expected, connectionId: string, each: Member): boolean {
  const is = (term: string) => reaches(term, connectionId, each);
  const without = audiences.map((terms) => terms.filter((term) => term.startsWith('!')));
  const leavesOut = (term: string) => without.every((terms) => terms.includes(term));
  return (
    audiences.flat().some((term) => !term.startsWith('!') && is(term)) &&
    !without.flat().some((term) => leavesOut(term) && is(term.slice(1)))
  );
}

function reaches(term: string, connectionId: string, { userId, rooms, roles }: Member): boolean {
  if (term === 'all') return true;
  const [kind, ...rest] = term.split(':');
  const name = rest.join(':');
  if (kind === 'user') return userId === name;
  if (kind === 'room') return rooms.some((room) => room === name);
  if (kind === 'role') return roles.some((role) => role === name);
  return kind === 'connection' && connectionId === name;
}

/** One event by the model: its type, its audiences (two of an update), and the keys of its data. */
interface Expected {
  readonly type: string;
  readonly audiences: readonly (readonly string[])[];
  readonly keys: readonly string[];
}

class Scenario {
  readonly members = new Map<string, Member>();
  readonly rows: Row[] = [];
  #nextId = 1;
  #lastMs = 0;
  /** By event id. */
  readonly events = new Map<string, Expected>();

  readonly #world: World;
  readonly #sink: GatewaySink;
  readonly #table: string;
  readonly #audience: readonly string[];
  readonly #columns: readonly string[] | null;

  constructor(
    place: { world: World; sink: GatewaySink; table: string },
    audience: readonly string[],
    columns: readonly string[] | null,
  ) {
    this.#world = place.world;
    this.#sink = place.sink;
    this.#table = place.table;
    this.#audience = audience;
    this.#columns = columns;
  }

  /** Joins and leaves; resolves when the relay knows. */
  async move(
    joins: readonly (readonly [string, Member])[],
    leaves: readonly string[],
  ): Promise<void> {
    const { store } = this.#world.table;
    for (const connectionId of leaves) {
      this.members.delete(connectionId);
      await store.remove(connectionId);
    }
    // Until the relay knows, what is sent goes to whoever had the id before.
    await expect.poll(() => this.#world.directory.size).toBe(this.members.size);
    for (const [connectionId, each] of joins) {
      await store.remove(connectionId);
      this.#sink.posts.delete(connectionId);
      this.members.set(connectionId, each);
      await store.put({
        connectionId,
        connectedAt: this.#clock(),
        ttl: Math.floor(Date.now() / 1000) + 3600,
        ...each,
      });
    }
    await this.#sink.all(new Set(joins.map(([connectionId]) => connectionId)), (payload) =>
      payload.includes('"READY"'),
    );
  }

  /** A reused id has a later `connectedAt`. */
  #clock(): number {
    this.#lastMs = Math.max(this.#lastMs + 1, Date.now());
    return this.#lastMs;
  }

  async apply(change: {
    what: string;
    row?: number;
    a?: string | null;
    b?: string | null;
    terms?: [Kind, string][];
    without?: string[];
  }): Promise<void> {
    const keys = this.#columns ?? ['id', 'a', 'b'];
    const { a = null, b = null, terms, without = [] } = change;
    const row = this.rows[(change.row ?? 0) % (this.rows.length || 1)];
    const table = this.#table;
    const audience = this.#audience;
    if (change.what === 'send' && terms) {
      const audienceOfMessage = [...terms.map(([k, n]) => `${k}:${n}`), ...without];
      await this.#logged(`select rowcast.send('note', '{"n":1}', $1)`, [audienceOfMessage], {
        type: 'note',
        audiences: [audienceOfMessage],
        keys: ['n'],
      });
    } else if (change.what === 'insert') {
      const fresh = { id: this.#nextId++, a, b };
      this.rows.push(fresh);
      await this.#logged(`insert into ${table} values ($1, $2, $3)`, [fresh.id, a, b], {
        type: 'NEW_T',
        audiences: [termsOfRow(audience, fresh)],
        keys,
      });
    } else if (change.what === 'update' && row) {
      const before = { ...row };
      Object.assign(row, { a, b });
      const visible = (each: Row) =>
        JSON.stringify([
          this.#columns?.includes('a') === false ? null : each.a,
          this.#columns ? null : each.b,
          ['a', 'b'].map((c) => audience.some((t) => t.includes(`<${c}>`)) && each[c as 'a' | 'b']),
        ]);
      const same = visible(before) === visible(row);
      await this.#logged(
        `update ${table} set a = $2, b = $3 where id = $1`,
        [row.id, a, b],
        same
          ? null
          : {
              type: 'UPDATE_T',
              audiences: [termsOfRow(audience, before), termsOfRow(audience, row)],
              keys,
            },
      );
    } else if (change.what === 'delete' && row) {
      this.rows.splice(this.rows.indexOf(row), 1);
      await this.#logged(`delete from ${table} where id = $1`, [row.id], {
        type: 'DELETE_T',
        audiences: [termsOfRow(audience, row)],
        keys,
      });
    }
  }

  async #logged(sql: string, values: unknown[], expected: Expected | null): Promise<void> {
    const [last] = await this.#world.sql<{ id: string }>(
      'select coalesce(max(id), 0)::text as id from rowcast.event',
    );
    await this.#world.sql(sql, values);
    const logged = await this.#world.sql<{ id: string }>(
      'select id from rowcast.event where id > $1',
      [last?.id],
    );
    expect(logged).toHaveLength(expected ? 1 : 0);
    if (expected) this.events.set(logged[0]?.id as string, expected);
  }

  /** Everything before it has arrived where it does. */
  async fence(): Promise<void> {
    const [sent] = await this.#world.sql<{ id: string }>(
      `select rowcast.broadcast('fence', null) as id`,
    );
    await this.#sink.all(this.members.keys(), (payload) =>
      payload.startsWith(`{"id":"${sent?.id}"`),
    );
  }

  /**
   * @param phase events of this phase: of those exactly what the model says, each once; of older
   * ones nothing that is another's
   */
  check(phase: ReadonlySet<string>): void {
    for (const [connectionId, each] of this.members) {
      const received: string[] = [];
      for (const payload of this.#sink.posts.get(connectionId) ?? []) {
        const frame = JSON.parse(payload) as {
          id?: string;
          type: string;
          data: Record<string, unknown> | null;
        };
        const expected = frame.id === undefined ? undefined : this.events.get(frame.id);
        if (frame.id === undefined || expected === undefined) continue;
        expect(
          isFor(expected, connectionId, each),
          `${payload} for ${connectionId} of ${JSON.stringify(each)}`,
        ).toBe(true);
        expect([frame.type, Object.keys(frame.data ?? {})]).toEqual([expected.type, expected.keys]);
        if (phase.has(frame.id)) received.push(frame.id);
      }
      const due = [...this.events].filter(
        ([eventId, expected]) => phase.has(eventId) && isFor(expected, connectionId, each),
      );
      expect(received, JSON.stringify(each)).toEqual(due.map(([eventId]) => eventId));
    }
  }
}

test('receivers are exactly those of a plain model, reused ids included', async () => {
  const sink = await GatewaySink.start();
  const world = await World.start({ callbackUrl: sink.url });
  await world.relay();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(scenario, async ({ audience, columns, phases }) => {
      const name = `t${runs++}`;
      await world.sql(`create table ${name} (id int primary key, a text, b text)`);
      await world.sql(`select rowcast.watch($1, 't', $2, $3)`, [name, audience, columns]);
      const run = new Scenario({ world, sink, table: name }, audience, columns);
      for (const { joins, leaves, changes } of phases) {
        await run.move(joins, leaves);
        const before = new Set(run.events.keys());
        for (const each of changes) await run.apply(each);
        await run.fence();
        run.check(new Set([...run.events.keys()].filter((eventId) => !before.has(eventId))));
      }
      await run.move([], [...run.members.keys()]);
      await world.sql(`drop table ${name}`);
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 60), endOnFailure: false },
  );
});
