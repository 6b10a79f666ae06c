/** A table as `rowcast.watched` and the catalog have it; the page knows none by itself. */
export interface Table {
  /** As Postgres prints it: `messages`, `shop."Order"`. */
  readonly name: string;
  /** As in the types of its messages: `MESSAGE` in NEW_MESSAGE. */
  readonly entity: string;
  readonly audience: readonly string[];
  /** Columns that name a row; none where there is no primary key, or it is not sent. */
  readonly key: readonly string[];
  /** Only columns that are sent. */
  readonly columns: readonly Column[];
  /** Why it is not captured as it should be. */
  readonly problem: string | null;
}

export interface Column {
  readonly name: string;
  readonly type: string;
  /** Asked for when a row is inserted: it has no default. */
  readonly inserted: boolean;
  /** Offered when a row is edited. */
  readonly edited: boolean;
  readonly required: boolean;
}

/** As JSON has it. */
export type Row = Readonly<Record<string, unknown>>;

/** As many as a list holds. */
export const MAX_ROWS = 100;

/** Lines that a person may type into a column. */
export const isLong = ({ type }: Column) => type === 'text' || type.startsWith('json');

/** The column that a row is known by at a glance: the first text that a row must have. */
export function headingOf({ columns, key }: Table): string | undefined {
  const texts = columns.filter(({ name, type }) => /text|char/.test(type) && !key.includes(name));
  return (texts.find(({ required }) => required) ?? texts[0] ?? columns[0])?.name;
}

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
