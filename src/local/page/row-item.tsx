import { type ReactNode, useEffect, useRef, useState } from 'react';
import { deleteRow, updateRow } from './api.ts';
import type { LiveRow } from './live-rows.ts';
import { RowForm } from './row-form.tsx';
import type { Table } from './tables.ts';

const FLASH_MS = 1500;
/** A row that was deleted is struck through for so long. */
const GONE_MS = 2000;

export function RowItem({
  table,
  row,
  forget,
}: {
  table: Table;
  row: LiveRow;
  forget: (id: number) => void;
}): ReactNode {
  const [editing, setEditing] = useState(false);
  const [error, setError] = useState<string>();
  const item = useRef<HTMLLIElement>(null);
  const gone = row.change === 'DELETE';

  // Once for each change, and not for rows that were there when the page was opened.
  useEffect(() => {
    if (row.changes === 0 || matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    item.current?.animate(
      [{ backgroundColor: `var(--flash-${row.change?.toLowerCase()})` }, {}],
      FLASH_MS,
    );
  }, [row.changes, row.change]);

  // A form that is open keeps what was typed, until it is closed.
  // biome-ignore lint/correctness/useExhaustiveDependencies: forget is new in each rendering
  useEffect(() => {
    if (!gone || editing) return;
    const timer = setTimeout(() => forget(row.id), GONE_MS);
    return () => clearTimeout(timer);
  }, [gone, editing, row.id]);

  // Back to the button that began it.
  const wasEditing = useRef(false);
  useEffect(() => {
    if (wasEditing.current && !editing) item.current?.querySelector<HTMLElement>('button')?.focus();
    wasEditing.current = editing;
  }, [editing]);

  const remove = () =>
    deleteRow(table, row.id).catch((failure: Error) => setError(failure.message));
  return (
    <li
      ref={item}
      data-id={row.id}
      data-change={row.change}
      className={gone && !editing ? 'gone' : ''}
    >
      {editing ? (
        <RowForm
          label={`Edit row ${row.id} of ${table.name}`}
          fields={table.fields}
          row={row}
          action="Save"
          save={(changed) => updateRow(table, row.id, changed)}
          cancel={() => setEditing(false)}
        />
      ) : (
        <RowText table={table} row={row} />
      )}
      {editing && gone && <p className="error">Deleted meanwhile.</p>}
      {!editing && !gone && (
        <div className="row-actions">
          {!row.truncated && (
            <button
              type="button"
              aria-label={`Edit row ${row.id}`}
              onClick={() => setEditing(true)}
            >
              Edit
            </button>
          )}
          <button type="button" aria-label={`Delete row ${row.id}`} onClick={() => void remove()}>
            Delete
          </button>
        </div>
      )}
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </li>
  );
}

function RowText({ table, row }: { table: Table; row: LiveRow }): ReactNode {
  const note = table.note && row[table.note];
  const heading = row[table.heading];
  const created = row.created_at && new Date(row.created_at);
  const today = created && created.toDateString() === new Date().toDateString();
  return (
    <div className="row-text">
      <strong>{row.truncated ? 'too large to be sent' : String(heading)}</strong>
      {note ? <span className="note">{String(note)}</span> : null}
      <small>
        #{row.id} · {table.who(row)} ·{' '}
        <span className="badge">{row.status ?? 'status unknown'}</span>
        {created && (
          <>
            {' · '}
            <time dateTime={row.created_at}>
              {today ? created.toLocaleTimeString() : created.toLocaleString()}
            </time>
          </>
        )}
      </small>
    </div>
  );
}
