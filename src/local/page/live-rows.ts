import { useMemo, useRef, useState } from 'react';
import type { Message } from '../../client/connect.ts';
import { isTable } from '../../list/live-list.ts';
import { rowKey } from '../../list/rows.ts';
import { useRowcast, useRows } from '../../react/react.ts';
import { fetchRows } from './api.ts';
import { MAX_ROWS, type Row, type Table } from './tables.ts';
import { isReplayed } from './wire.ts';

/** More than are shown: a row may come back. */
const MAX_MARKS = 5 * MAX_ROWS;

export interface ShownRow {
  readonly key: string;
  readonly row: Row;
  /** The last message about it, on this page. */
  readonly mark: Mark | undefined;
}

export interface Mark {
  readonly eventId: string;
  readonly change: 'new' | 'update' | 'delete';
  readonly replayed: boolean;
}

export interface LiveRows {
  /** Null until they were fetched. Rows that were deleted stay until they are forgotten. */
  readonly rows: readonly ShownRow[] | null;
  readonly error: Error | null;
  forget(key: string): void;
}

/** The rows of `useRows`, with what this page heard of each, and those that have just gone. */
export function useLiveRows(table: Table): LiveRows {
  const { entity, key } = table;
  const compare = useMemo(() => lastKeyFirst(key), [key]);
  const { rows, status, error } = useRows<Row>({
    entity,
    key,
    limit: MAX_ROWS,
    compare,
    fetch: ({ signal }) => fetchRows(table, signal),
  });
  const shown = useRef<readonly Row[]>(rows);
  shown.current = rows;
  const [marks, setMarks] = useState<ReadonlyMap<string, Mark>>(new Map());
  const [gone, setGone] = useState<ReadonlyMap<string, Row>>(new Map());

  useRowcast(
    {
      onMessage(message: Message) {
        if (!isTable(entity, { type: message.type })) return;
        const mark = markOf(message);
        const keys = message.data ? [rowKey(message.data as Row, key)] : keysOf(shown.current, key);
        setMarks((all) => {
          const marked = keys.map((each) => [each, mark] as const);
          return new Map([...all, ...marked].slice(-MAX_MARKS));
        });
        setGone((all) => {
          const left = new Map(all);
          for (const row of shown.current) {
            const each = rowKey(row, key);
            if (mark.change === 'delete' && keys.includes(each)) left.set(each, row);
          }
          if (mark.change !== 'delete') for (const each of keys) left.delete(each);
          return left;
        });
      },
    },
    () => null,
  );

  const forget = (one: string) =>
    setGone((all) => new Map([...all].filter(([each]) => each !== one)));
  const there = new Set(keysOf(rows, key));
  const all = [...rows, ...[...gone].filter(([each]) => !there.has(each)).map(([, row]) => row)];
  return {
    rows:
      status === 'loading'
        ? null
        : all.sort(compare).map((row) => {
            const each = rowKey(row, key);
            return { key: each, row, mark: marks.get(each) };
          }),
    error,
    forget,
  };
}

function markOf({ id, type }: Message): Mark {
  const change = type.startsWith('NEW') ? 'new' : type.startsWith('UPDATE') ? 'update' : 'delete';
  return { eventId: id, change, replayed: isReplayed(id) };
}

const keysOf = (rows: readonly Row[], key: readonly string[]) =>
  rows.map((row) => rowKey(row, key));

/** As the API sorts them: numbers as numbers, all else as text. */
function lastKeyFirst(key: readonly string[]) {
  return (one: Row, other: Row): number => {
    for (const column of key) {
      const [a, b] = [one[column], other[column]];
      if (typeof a === 'number' && typeof b === 'number') {
        if (a !== b) return b - a;
      } else if (String(a) !== String(b)) return String(a) < String(b) ? 1 : -1;
    }
    return 0;
  };
}
