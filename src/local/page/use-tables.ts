import { useCallback, useEffect, useState } from 'react';
import { useRowcast } from '../../react/react.ts';
import { fetchTables } from './api.ts';
import type { Table } from './tables.ts';

const RETRY_MS = 1000;
const OF_A_TABLE = /^(NEW|UPDATE|DELETE|TRUNCATE)_./;

/**
 * The watched tables: asked for at the start, when somebody comes back to this page, and when a
 * message comes that may be of a table that is new.
 */
export function useTables(): { tables: readonly Table[]; error: string | undefined } {
  const [tables, setTables] = useState<readonly Table[]>([]);
  const [error, setError] = useState<string>();
  const [asked, setAsked] = useState(0);
  const [unknown] = useState(new Set<string>());
  const again = useCallback(() => setAsked((count) => count + 1), []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: asked again by count
  useEffect(() => {
    let retry: ReturnType<typeof setTimeout>;
    let isOver = false;
    fetchTables().then(
      (found) => {
        if (isOver) return;
        setError(undefined);
        setTables((before) => (JSON.stringify(before) === JSON.stringify(found) ? before : found));
      },
      (failure: Error) => {
        if (isOver) return;
        setError(failure.message);
        retry = setTimeout(again, RETRY_MS);
      },
    );
    return () => {
      isOver = true;
      clearTimeout(retry);
    };
  }, [asked, again]);

  useEffect(() => {
    addEventListener('focus', again);
    return () => removeEventListener('focus', again);
  }, [again]);

  useRowcast(
    {
      onMessage({ type }) {
        if (!OF_A_TABLE.test(type) || unknown.has(type)) return;
        // Each type once: an application's own may look like one of a table.
        unknown.add(type);
        if (!tables.some(({ entity }) => type.endsWith(`_${entity}`))) again();
      },
    },
    () => null,
  );
  return { tables, error };
}
