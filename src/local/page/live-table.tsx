import { type ReactNode, useEffect, useRef } from 'react';
import { insertRow } from './api.ts';
import { useLiveRows } from './live-rows.ts';
import { RowForm } from './row-form.tsx';
import { RowItem } from './row-item.tsx';
import { shownRows } from './savings.tsx';
import { MAX_ROWS, type Table } from './tables.ts';

export function LiveTable({ table }: { table: Table }): ReactNode {
  const { rows, error, forget } = useLiveRows(table);
  const there = rows?.filter(({ change }) => change !== 'DELETE').length;
  const shown = useRef(rows);
  shown.current = rows;
  useEffect(() => shownRows(() => shown.current), []);
  return (
    <section className="panel" aria-labelledby={table.name}>
      <h2 id={table.name}>
        {table.title}{' '}
        <span className="count">{there === MAX_ROWS ? `newest ${MAX_ROWS}` : (there ?? '…')}</span>
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
      {there === 0 && (
        <p className="empty">No rows. Insert one here, by psql, or from any program.</p>
      )}
      <ul className="rows">
        {rows?.map((row) => (
          <RowItem key={row.id} table={table} row={row} forget={forget} />
        ))}
      </ul>
    </section>
  );
}
