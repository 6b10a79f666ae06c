import type { ReactNode } from 'react';
import { insertRow } from './api.ts';
import { useLiveRows } from './live-rows.ts';
import { RowForm } from './row-form.tsx';
import { RowItem } from './row-item.tsx';
import { MAX_ROWS, type Table } from './tables.ts';

export function TablePanel({ table }: { table: Table }): ReactNode {
  return table.key.length > 0 ? <Keyed table={table} /> : <Keyless table={table} />;
}

function Keyed({ table }: { table: Table }): ReactNode {
  const { rows, error, forget } = useLiveRows(table);
  const there = rows?.filter(({ mark }) => mark?.change !== 'delete').length;
  return (
    <section className="panel" aria-labelledby={table.name}>
      <Heading table={table} count={there === MAX_ROWS ? `last ${MAX_ROWS}` : (there ?? '…')} />
      <InsertForm table={table} />
      {error && (
        <p className="error" role="alert">
          {error.message}
        </p>
      )}
      {there === 0 && (
        <p className="empty">No rows yet. Insert one here, by psql, or from any program.</p>
      )}
      <ul className="rows">
        {rows?.map((row) => (
          <RowItem key={row.key} table={table} shown={row} forget={forget} />
        ))}
      </ul>
    </section>
  );
}

/** Nobody could tell which row a message is about. */
function Keyless({ table }: { table: Table }): ReactNode {
  return (
    <section className="panel" aria-labelledby={table.name}>
      <Heading table={table} count="no key" />
      <InsertForm table={table} />
      <p className="empty">
        No primary key of this table is sent, so its rows cannot be kept as a list. Its messages are
        among the frames.
      </p>
    </section>
  );
}

function Heading({ table, count }: { table: Table; count: ReactNode }): ReactNode {
  const { name, audience, problem } = table;
  return (
    <>
      <h2 id={name}>
        {name} <span className="count">{count}</span>
      </h2>
      {audience.join() !== 'all' && (
        <p className="hint">
          Changes are sent to {audience.join(', ') || 'nobody'}; who else looks sees the rows as
          they were fetched.
        </p>
      )}
      {problem && (
        <p className="error" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}

function InsertForm({ table }: { table: Table }): ReactNode {
  return (
    <RowForm
      label={`Insert into ${table.name}`}
      columns={table.columns.filter(({ inserted }) => inserted)}
      action="Insert"
      save={(row) => insertRow(table, row)}
    />
  );
}
