import type { Message, TableMessages } from '../../client/connect.ts';

/** As many as a list holds; older ones leave. */
export const MAX_ROWS = 100;

/** Columns of both tables; the others are text. */
export interface Row {
  readonly id: number;
  readonly status: string;
  readonly created_at: string;
  readonly [column: string]: unknown;
}

export type Messages = TableMessages<'MESSAGE', Row> &
  TableMessages<'COMPLAINT', Row> & { [type: string]: unknown };

export interface Field {
  readonly column: string;
  readonly label: string;
  readonly multiline?: true;
  readonly required?: true;
  /** Only of rows that are there: inserts leave it to its default. */
  readonly later?: true;
}

export interface Table {
  readonly name: 'messages' | 'complaints';
  readonly entity: 'MESSAGE' | 'COMPLAINT';
  readonly title: string;
  readonly fields: readonly Field[];
  /** Columns that a row is shown by. */
  readonly heading: string;
  readonly note?: string;
  readonly who: (row: Row) => string;
}

const name = (value: unknown) => (typeof value === 'string' && value !== '' ? value : 'nobody');

export const MESSAGES: Table = {
  name: 'messages',
  entity: 'MESSAGE',
  title: 'Messages',
  fields: [
    { column: 'sender', label: 'From' },
    { column: 'recipient', label: 'To' },
    { column: 'content', label: 'Message', required: true, multiline: true },
    { column: 'status', label: 'Status', required: true, later: true },
  ],
  heading: 'content',
  who: ({ sender, recipient }) => `${name(sender)} → ${name(recipient)}`,
};

export const COMPLAINTS: Table = {
  name: 'complaints',
  entity: 'COMPLAINT',
  title: 'Complaints',
  fields: [
    { column: 'reporter', label: 'Reporter' },
    { column: 'title', label: 'Title', required: true },
    { column: 'details', label: 'Details', multiline: true },
    { column: 'status', label: 'Status', required: true, later: true },
  ],
  heading: 'title',
  note: 'details',
  who: ({ reporter }) => `by ${name(reporter)}`,
};

export type Change = 'NEW' | 'UPDATE' | 'DELETE' | 'TRUNCATE';

/**
 * The table that a message is about, where it is about one of the two; anything else is a message
 * of the application's own.
 */
export function tableOf({
  type,
}: Pick<Message<Messages>, 'type'>): { table: Table; change: Change } | undefined {
  for (const table of [MESSAGES, COMPLAINTS])
    for (const change of ['NEW', 'UPDATE', 'DELETE', 'TRUNCATE'] as const)
      if (type === `${change}_${table.entity}`) return { table, change };
  return undefined;
}
