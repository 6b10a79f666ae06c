import { useCallback, useEffect, useRef, useState } from 'react';
import type { Message } from '../../client/connect.ts';
import { useRowcast } from '../../client/react.ts';
import { listRows } from './api.ts';
import type { Messages, Row, Table } from './tables.ts';

/** As many as the API lists; older ones leave. */
const MAX_ROWS = 100;

export interface LiveRow extends Row {
  /** How often it has changed on this page; 0 when it was fetched. */
  readonly changes: number;
  readonly change: 'NEW' | 'UPDATE' | 'DELETE' | undefined;
}

type Rows = ReadonlyMap<number, LiveRow>;
const NO_ROWS: Rows = new Map();

/**
 * A table as it is in the database: fetched at the start, at the first READY and whenever something may have been missed, and kept
 * up to date by messages. Those that arrive while it is fetched are applied once more to what the fetch brings, which may be older.
 */
export function useLiveRows(table: Table): { rows: readonly LiveRow[]; error: string | undefined } {
  const [rows, setRows] = useState(NO_ROWS);
  const [error, setError] = useState<string>();
  const sinceFetch = useRef<Message<Messages>[]>(undefined);

  const fetchRows = useCallback(async () => {
    const messages: Message<Messages>[] = [];
    sinceFetch.current = messages;
    try {
      const fetched = await listRows(table);
      if (sinceFetch.current !== messages) return;
      const fresh = newestFirst(fetched.map((row) => ({ ...row, changes: 0, change: undefined })));
      setRows(messages.reduce((all, message) => applied(all, table, message), fresh));
      setError(undefined);
      sinceFetch.current = undefined;
    } catch (failure) {
      setError((failure as Error).message);
    }
  }, [table]);

  useEffect(() => void fetchRows(), [fetchRows]);
  useRowcast<Messages>({
    onMessage(message) {
      sinceFetch.current?.push(message);
      setRows((all) => applied(all, table, message));
    },
    onReady({ first, recovered }) {
      if (first || !recovered) void fetchRows();
    },
  });
  return { rows: [...rows.values()], error };
}

function newestFirst(rows: readonly LiveRow[]): Rows {
  const newest = [...rows].sort((a, b) => b.id - a.id).slice(0, MAX_ROWS);
  return new Map(newest.map((row) => [row.id, row]));
}

function applied(rows: Rows, { entity }: Table, message: Message<Messages>): Rows {
  const [change, of] = message.type.split(/_(.*)/) as [string, string];
  if (of !== entity) return rows;
  if (change === 'TRUNCATE') return NO_ROWS;
  const row = message.data as Row;
  const changes = (rows.get(row.id)?.changes ?? 0) + 1;
  const changed = { ...row, changes, change: change as LiveRow['change'] };
  const others = [...rows.values()].filter(({ id }) => id !== row.id);
  return newestFirst([changed, ...others]);
}
