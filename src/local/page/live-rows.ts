import { useCallback, useEffect, useRef, useState } from 'react';
import type { Message } from '../../client/connect.ts';
import { useRowcast } from '../../react/react.ts';
import { listRows } from './api.ts';
import { type Change, MAX_ROWS, type Messages, type Row, type Table, tableOf } from './tables.ts';

const RETRY_MS = 2000;

export interface LiveRow extends Row {
  /** How often it has changed on this page; 0 when it was fetched. */
  readonly changes: number;
  readonly change?: Change | undefined;
  /** Only its key is known: it was too large to be sent, and could not be fetched. */
  readonly truncated?: boolean;
}

type Rows = ReadonlyMap<number, LiveRow>;

export interface LiveRows {
  /**
   * Undefined until they were fetched or heard of. Rows that were deleted stay until they are
   * forgotten.
   */
  readonly rows: readonly LiveRow[] | undefined;
  readonly error: string | undefined;
  forget(id: number): void;
}

/**
 * A table as it is in the database: fetched at the start, at the first READY and whenever something
 * may have been missed, and kept up to date by messages. Those that arrive while it is fetched are
 * applied once more to what the fetch brings, which may be older.
 */
export function useLiveRows(table: Table): LiveRows {
  const [rows, setRows] = useState<Rows>();
  const [error, setError] = useState<string>();
  const sinceFetch = useRef<Message<Messages>[]>(undefined);
  /** There were more rows than are shown. */
  const more = useRef(false);

  const fetchRows = useCallback(async () => {
    const messages: Message<Messages>[] = [];
    sinceFetch.current = messages;
    try {
      const fetched = await listRows(table);
      if (sinceFetch.current !== messages) return;
      more.current = fetched.length === MAX_ROWS;
      const fresh = newestFirst(fetched.map((row) => ({ ...row, changes: 0 })));
      setRows(messages.reduce((all, message) => applied(all, table, message), fresh));
      setError(undefined);
      sinceFetch.current = undefined;
    } catch (failure) {
      if (sinceFetch.current !== messages) return;
      sinceFetch.current = undefined;
      setError((failure as Error).message);
      setTimeout(fetchRows, RETRY_MS);
    }
  }, [table]);

  useEffect(() => void fetchRows(), [fetchRows]);
  useRowcast<Messages>({
    onMessage(message) {
      sinceFetch.current?.push(message);
      setRows((all) => all && applied(all, table, message));
    },
    onReady({ first, recovered }) {
      if (first || !recovered) void fetchRows();
    },
  });
  const forget = (id: number) => {
    setRows((all) => all && new Map([...all].filter(([each]) => each !== id)));
    // Older rows take the places of those that are gone.
    if (more.current && sinceFetch.current === undefined) void fetchRows();
  };
  return { rows: rows && [...rows.values()], error, forget };
}

function newestFirst(rows: readonly LiveRow[]): Rows {
  const sorted = [...rows].sort((a, b) => b.id - a.id);
  let there = 0;
  return new Map(
    sorted
      .filter(({ change }) => change === 'DELETE' || there++ < MAX_ROWS)
      .map((row) => [row.id, row] as const),
  );
}

function applied(rows: Rows, table: Table, message: Message<Messages>): Rows {
  const about = tableOf(message);
  if (about?.table !== table) return rows;
  const changed = (row: LiveRow, change: Change): LiveRow => ({
    ...row,
    change,
    changes: row.changes + 1,
  });
  if (about.change === 'TRUNCATE')
    return new Map([...rows].map(([id, row]) => [id, changed(row, 'DELETE')]));
  const row = message.data as Row;
  const known = rows.get(row.id) ?? { changes: 0 };
  const truncated = message.truncated === true && about.change !== 'DELETE';
  return newestFirst([
    changed({ ...known, ...row, truncated }, about.change),
    ...[...rows.values()].filter(({ id }) => id !== row.id),
  ]);
}
