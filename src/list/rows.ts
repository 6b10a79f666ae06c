/** The rows of a list by key, in its order, no more than its limit. */
export class Rows<Row extends object> {
  /**
   * There may be rows after the last: the list was cut to its limit, or a fetch filled it. A row
   * that sorts after the last is then not known to be the next.
   */
  more = false;
  readonly #byKey = new Map<string, Row>();
  readonly #options: RowsOptions<Row>;
  #sorted: readonly Row[] | undefined;

  /** @throws TypeError that names the option */
  constructor(options: RowsOptions<Row>) {
    this.#options = options;
    if (options.limit && !options.compare) throw new TypeError('liveList: limit needs compare');
  }

  /** Fewer than the limit, where there are more. */
  get isShort(): boolean {
    return this.more && this.#byKey.size < this.#limit;
  }

  /** The same array until something changes. */
  get sorted(): readonly Row[] {
    if (!this.#sorted) {
      const rows = [...this.#byKey.values()];
      this.#sorted = this.#options.compare ? rows.sort(this.#options.compare) : rows;
    }
    return this.#sorted;
  }

  replace(rows: readonly Row[]): void {
    this.clear();
    for (const row of rows) this.put(row);
    this.more ||= rows.length >= this.#limit;
  }

  /**
   * @param data columns that are new; the others stay
   * @param old the row before, where it is known: its key may be another
   */
  put(data: Partial<Row>, old?: Partial<Row> | null): void {
    const key = this.#keyOf(data);
    const before = this.#byKey.get(key);
    const row = { ...before, ...data } as Row;
    if (old && this.#keyOf(old) !== key) this.delete(old);
    if (this.#options.where?.(row) === false || this.#isBeyond(row, before)) {
      this.delete(row);
      return;
    }
    this.#byKey.set(key, row);
    this.#sorted = undefined;
    if (this.#byKey.size > this.#limit) {
      this.more = true;
      this.delete(this.sorted.at(-1) as Row);
    }
  }

  delete(row: Partial<Row>): void {
    if (this.#byKey.delete(this.#keyOf(row))) this.#sorted = undefined;
  }

  clear(): void {
    this.more = false;
    this.#sorted = undefined;
    this.#byKey.clear();
  }

  /** Rows that are not here may come before it. */
  #isBeyond(row: Row, before: Row | undefined): boolean {
    const { compare } = this.#options;
    if (!this.more || !compare || (before && compare(row, before) <= 0)) return false;
    const last = this.sorted.filter((each) => each !== before).at(-1);
    return !last || compare(row, last) > 0;
  }

  #keyOf(row: Partial<Row>): string {
    return rowKey(row, this.#options.key);
  }

  get #limit(): number {
    return this.#options.limit ?? Number.POSITIVE_INFINITY;
  }
}

/** As text: a bigint is `"1"` by pg and `1` in a frame. @throws TypeError without a column of it */
export function rowKey<Row extends object>(
  row: Partial<Row>,
  key: RowsOptions<Row>['key'],
): string {
  const columns = [key ?? 'id'].flat() as (keyof Row)[];
  const missing = columns.find((column) => row[column] === undefined);
  if (missing) throw new TypeError(`liveList: no ${String(missing)} in a row; see key`);
  return columns.map((column) => row[column]).join('\0');
}

export interface RowsOptions<Row> {
  /** Columns that name a row; `id` by default. */
  readonly key?: (keyof Row & string) | readonly (keyof Row & string)[] | undefined;
  /** Rows for which it is false are not in the list, and leave it when they become so. */
  readonly where?: ((row: Row) => boolean) | undefined;
  /** As for Array.sort; without it rows are in the order in which they came. */
  readonly compare?: ((one: Row, other: Row) => number) | undefined;
  /** At most so many, the first by `compare`. */
  readonly limit?: number | undefined;
}
