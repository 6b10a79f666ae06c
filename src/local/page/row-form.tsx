import { type KeyboardEvent, type ReactNode, useId, useState } from 'react';
import { type Column, cellText, isLong, type Row } from './tables.ts';

export interface RowFormProps {
  readonly label: string;
  readonly columns: readonly Column[];
  /** The row that is edited, as it is now. */
  readonly row?: Row;
  readonly action: string;
  /** Gets what was filled in, or of a row what was changed. */
  readonly save: (row: Record<string, string>) => Promise<unknown>;
  /** Offers to leave it, also by Escape. */
  readonly cancel?: () => void;
}

/**
 * Enter saves. A form that inserts is emptied; what the database refuses stays, with what it says.
 */
export function RowForm({
  label,
  columns,
  row = {},
  action,
  save,
  cancel,
}: RowFormProps): ReactNode {
  const id = useId();
  const [began] = useState(row);
  const [error, setError] = useState<string>();
  const [saving, setSaving] = useState(false);
  const outdated = columns
    .map(({ name }) => name)
    .filter((name) => cellText(began[name]) !== cellText(row[name]));

  const submit = async (form: HTMLFormElement) => {
    const filled = new FormData(form);
    const changed = columns
      .map(({ name }) => name)
      .filter((name) => filled.get(name) !== cellText(began[name]));
    setSaving(true);
    try {
      if (changed.length > 0 || !cancel)
        await save(Object.fromEntries(changed.map((name) => [name, String(filled.get(name))])));
      setError(undefined);
      if (cancel) return cancel();
      form.reset();
      form.querySelector<HTMLElement>('[required]')?.focus();
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setSaving(false);
    }
  };

  const onKeyDown = (event: KeyboardEvent<HTMLFormElement>) => {
    if (event.key === 'Escape') cancel?.();
    if (event.key !== 'Enter' || event.shiftKey || !(event.target instanceof HTMLTextAreaElement))
      return;
    event.preventDefault();
    event.currentTarget.requestSubmit();
  };

  return (
    <form
      aria-label={label}
      className="row-form"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(event.currentTarget);
      }}
      onKeyDown={onKeyDown}
    >
      {columns.map((column, i) => {
        const Control = isLong(column) ? 'textarea' : 'input';
        const { name } = column;
        return (
          <label key={name} htmlFor={id + name} className={isLong(column) ? 'wide' : ''}>
            <span>{name}</span>
            <Control
              id={id + name}
              name={name}
              defaultValue={cellText(began[name])}
              required={column.required}
              // After Edit, the first field has the focus.
              autoFocus={cancel !== undefined && i === 0}
              autoComplete="off"
              {...(isLong(column) && { rows: 1 })}
            />
          </label>
        );
      })}
      <button type="submit" className="primary" disabled={saving}>
        {action}
      </button>
      {cancel && (
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      )}
      {outdated.length > 0 && (
        <p className="hint">
          Changed meanwhile: {outdated.join(', ')}. Only what you change is saved.
        </p>
      )}
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
