import { type ReactNode, useEffect, useRef, useState } from 'react';
import { deleteRow, insertRow, updateRow } from './api.ts';
import { type LiveRow, useLiveRows } from './live-rows.ts';
import { RowForm } from './row-form.tsx';
import type { Table } from './tables.ts';

export function LiveTable({ table }: { table: Table }): ReactNode {
  const { rows, error } = useLiveRows(table);
  const there = rows.filter(({ change }) => change !== 'DELETE').length;
  return (
    <section className="panel" aria-labelledby={table.name}>
      <h2 id={table.name}>
        {table.title} <span className="count">{there}</span>
      </h2>
      <RowForm
        label={`Insert into ${table.name}`}
        fields={table.fields.filter(({ later }) => !later)}
        action="Insert"
        save={(row) => insertRow(table, row)}
      />
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      {there === 0 && !error && <p className="empty">No rows. Insert one here, by psql, or from any program.</p>}
      <ul className="rows">
        {rows.map((row) => (
          <RowItem key={row.id} table={table} row={row} />
        ))}
      </ul>
    </section>
  );
}

const FLASH_MS = 1500;

function RowItem({ table, row }: { table: Table; row: LiveRow }): ReactNode {
  const [editing, setEditing] = useState(false);
  const [error, setError] = useState<string>();
  const item = useRef<HTMLLIElement>(null);
  const gone = row.change === 'DELETE';

  // Once for each change, and not for rows that were there when the page was opened.
  useEffect(() => {
    if (row.changes === 0) return;
    item.current?.animate([{ backgroundColor: `var(--flash-${row.change?.toLowerCase()})` }, {}], FLASH_MS);
  }, [row.changes, row.change]);

  const remove = () => deleteRow(table, row.id).catch((failure: Error) => setError(failure.message));
  const note = table.note && row[table.note];
  return (
    <li ref={item} data-id={row.id} data-change={row.change} className={gone ? 'gone' : ''}>
      {editing && !gone ? (
        <RowForm
          label={`Edit row ${row.id} of ${table.name}`}
          fields={table.fields}
          initial={row}
          action="Save"
          save={async (changed) => {
            await updateRow(table, row.id, changed);
            setEditing(false);
          }}
          cancel={() => setEditing(false)}
        />
      ) : (
        <>
          <div className="row-text">
            <strong>{String(row[table.heading])}</strong>
            {note ? <span className="note"> {String(note)}</span> : null}
            <small>
              #{row.id} · {table.who(row)} · <span className="badge">{row.status}</span> ·{' '}
              <time dateTime={row.created_at}>{new Date(row.created_at).toLocaleTimeString()}</time>
            </small>
          </div>
          {!gone && (
            <div className="row-actions">
              <button type="button" aria-label={`Edit row ${row.id}`} onClick={() => setEditing(true)}>
                Edit
              </button>
              <button type="button" aria-label={`Delete row ${row.id}`} onClick={() => void remove()}>
                Delete
              </button>
            </div>
          )}
        </>
      )}
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </li>
  );
}
