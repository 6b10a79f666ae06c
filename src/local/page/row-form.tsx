import { type KeyboardEvent, type ReactNode, useId, useState } from 'react';
import type { Field } from './tables.ts';

type Values = Readonly<Record<string, unknown>>;

export interface RowFormProps {
  readonly label: string;
  readonly fields: readonly Field[];
  /** The row that is edited, as it is now. */
  readonly row?: Values;
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
  fields,
  row = {},
  action,
  save,
  cancel,
}: RowFormProps): ReactNode {
  const id = useId();
  const [began] = useState(row);
  const [error, setError] = useState<string>();
  const [saving, setSaving] = useState(false);
  const text = (values: Values, { column }: Field) => String(values[column] ?? '');
  const outdated = fields
    .filter((field) => text(began, field) !== text(row, field))
    .map((field) => field.label);

  const submit = async (form: HTMLFormElement) => {
    const filled = new FormData(form);
    const changed = fields.filter((field) => filled.get(field.column) !== text(began, field));
    setSaving(true);
    try {
      if (changed.length > 0 || !cancel)
        await save(
          Object.fromEntries(changed.map(({ column }) => [column, String(filled.get(column))])),
        );
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
      {fields.map((field, i) => {
        const Control = field.multiline ? 'textarea' : 'input';
        return (
          <label
            key={field.column}
            htmlFor={id + field.column}
            className={field.multiline ? 'wide' : ''}
          >
            <span>{field.label}</span>
            <Control
              id={id + field.column}
              name={field.column}
              defaultValue={text(began, field)}
              required={field.required === true}
              // After Edit, the first field has the focus.
              autoFocus={cancel !== undefined && i === 0}
              autoComplete="off"
              {...(field.multiline && { rows: 1 })}
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
