import { type ReactNode, useEffect, useRef, useState } from 'react';
import { deleteRow, updateRow } from './api.ts';
import type { ShownRow } from './live-rows.ts';
import { RowForm } from './row-form.tsx';
import { cellText, headingOf, type Row, type Table } from './tables.ts';
import { TraceButton } from './trace.tsx';

const FLASH_MS = 1500;
/** A row that was deleted is struck through for so long. */
const GONE_MS = 2000;

export function RowItem({
  table,
  shown: { key, row, mark },
  forget,
}: {
  table: Table;
  shown: ShownRow;
  forget: (key: string) => void;
}): ReactNode {
  const [editing, setEditing] = useState(false);
  const [error, setError] = useState<string>();
  const item = useRef<HTMLLIElement>(null);
  const gone = mark?.change === 'delete';
  const name = key.replaceAll('\0', ', ');

  // Once for each change, and not for rows that were there when the page was opened.
  useEffect(() => {
    if (!mark || matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    item.current?.animate([{ backgroundColor: `var(--flash-${mark.change})` }, {}], FLASH_MS);
  }, [mark]);

  // A form that is open keeps what was typed, until it is closed.
  // biome-ignore lint/correctness/useExhaustiveDependencies: forget is new in each rendering
  useEffect(() => {
    if (!gone || editing) return;
    const timer = setTimeout(() => forget(key), GONE_MS);
    return () => clearTimeout(timer);
  }, [gone, editing, key]);

  // Back to the button that began it.
  const wasEditing = useRef(false);
  useEffect(() => {
    if (wasEditing.current && !editing) item.current?.querySelector<HTMLElement>('button')?.focus();
    wasEditing.current = editing;
  }, [editing]);

  const remove = () => deleteRow(table, row).catch((failure: Error) => setError(failure.message));
  return (
    <li
      ref={item}
      data-key={name}
      data-change={mark?.change}
      className={gone && !editing ? 'gone' : ''}
    >
      {editing ? (
        <RowForm
          label={`Edit row ${name} of ${table.name}`}
          columns={table.columns.filter(({ edited }) => edited)}
          row={row}
          action="Save"
          save={(changed) => updateRow(table, row, changed)}
          cancel={() => setEditing(false)}
        />
      ) : (
        <RowText table={table} row={row} />
      )}
      {editing && gone && <p className="error">Deleted meanwhile.</p>}
      {!editing && !gone && (
        <div className="row-actions">
          {mark?.replayed && <span className="badge">replayed</span>}
          <button type="button" aria-label={`Edit row ${name}`} onClick={() => setEditing(true)}>
            Edit
          </button>
          <button type="button" aria-label={`Delete row ${name}`} onClick={() => void remove()}>
            Delete
          </button>
          {mark && <TraceButton eventId={mark.eventId} of={`row ${name}`} />}
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

/** The column it is known by, and below it each other one that has a value. */
function RowText({ table, row }: { table: Table; row: Row }): ReactNode {
  const heading = headingOf(table);
  const others = table.columns.filter(({ name }) => name !== heading && cellText(row[name]) !== '');
  return (
    <div className="row-text">
      {heading && <strong>{cellText(row[heading])}</strong>}
      <dl className="cells">
        {others.map(({ name, type }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{type.startsWith('timestamp') ? momentText(row[name]) : cellText(row[name])}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** In this browser's time; today without the date. */
function momentText(value: unknown): string {
  const moment = new Date(String(value));
  if (Number.isNaN(moment.getTime())) return cellText(value);
  const isToday = moment.toDateString() === new Date().toDateString();
  return isToday ? moment.toLocaleTimeString() : moment.toLocaleString();
}
