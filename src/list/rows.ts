/** The rows of a list by key, in its order, no more than its limit. */
export class Rows<Row extends object> {
  /**
   * There may be rows after the last: the list was cut to its limit, or a fetch filled it. A row
   * that sorts after the last is then not known to be the next.
   */
  #more = false;
  /** The most that there were: a fetch may bring fewer than the limit that `where` lets in. */
  #most = 0;
  readonly #byKey = new Map<string, Row>();
  readonly #options: RowsOptions<Row>;
  /** Undefined where there is none: no number is more than that. */
  readonly #limit: number;
  #sorted: readonly Row[] | undefined;

  /** @throws TypeError that names the option, or a column that a row lacks */
  constructor(options: RowsOptions<Row>, rows: readonly Row[] = []) {
    this.#options = options;
    this.#limit = options.limit as number;
    if (options.limit && !options.compare) throw new TypeError('liveList: limit needs compare');
    for (const row of rows) this.put(row);
    this.#more ||= rows.length >= this.#limit;
  }

  /** One has left, and there may be another in its place. */
  get isShort(): boolean {
    return this.#more && this.#byKey.size < this.#most;
  }

  /** The same array until something changes. */
  get sorted(): readonly Row[] {
    // A sort keeps the order of equals.
    const { compare = () => 0 } = this.#options;
    this.#sorted ??= [...this.#byKey.values()].sort(compare);
    return this.#sorted;
  }

  /**
   * @param data columns that are new; the others stay
   * @param old the row before or its key, where they are known
   * @returns false, and does nothing, where the key has changed: where keys are shifted or swapped,
   * the row that has the former key by now may be another
   */
  put(data: Partial<Row>, old?: Partial<Row> | false): boolean {
    const key = this.#keyOf(data);
    if (old && this.#keyOf(old) !== key) return false;
    const before = this.#byKey.get(key);
    const row = { ...before, ...data } as Row;
    const { where, compare } = this.#options;
    if (where && !where(row)) {
      this.delete(row);
      return true;
    }
    this.#byKey.set(key, row);
    this.#sorted = undefined;
    if (
      this.#byKey.size > this.#limit ||
      // Rows that are not here may come before one that has become the last.
      (this.#more &&
        this.sorted.at(-1) === row &&
        !(before && (compare?.(row, before) as number) <= 0))
    ) {
      this.#more = true;
      this.delete(this.sorted.at(-1) as Row);
    }
    this.#most = Math.max(this.#most, this.#byKey.size);
    return true;
  }

  delete(row: Partial<Row>): void {
    if (this.#byKey.delete(this.#keyOf(row))) this.#sorted = undefined;
  }

  #keyOf(row: Partial<Row>): string {
    return rowKey(row, this.#options.key);
  }
}

/** As text: a bigint is `"1"` by pg and `1` in a frame. @throws TypeError without a column of it */
export function rowKey<Row extends object>(
  row: Partial<Row>,
  key: RowsOptions<Row>['key'],
): string {
  return ([key?.length ? key : 'id'].flat() as (keyof Row)[])
    .map((column) => {
      if (row[column] === undefined)
        throw new TypeError(`liveList: no ${column as string} in a row; see key`);
      return row[column];
    })
    .join('\0');
}

export interface RowsOptions<Row> {
  /**
   * Columns that name a row; `id` by default. They are the primary key, or never change: else the
   * table is watched with `include_old`.
   */
  readonly key?: (keyof Row & string) | readonly (keyof Row & string)[] | undefined;
  /** Rows for which it is not true are not in the list, and leave it when they become so. */
  readonly where?: ((row: Row) => boolean) | undefined;
  /** As for Array.sort; without it rows are in the order in which they came. */
  readonly compare?: ((one: Row, other: Row) => number) | undefined;
  /** At most so many, the first by `compare`. */
  readonly limit?: number | undefined;
}
