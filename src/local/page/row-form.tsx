import { type ReactNode, useState } from 'react';
import type { Field } from './tables.ts';

export interface RowFormProps {
  readonly label: string;
  readonly fields: readonly Field[];
  readonly initial?: Readonly<Record<string, unknown>>;
  readonly action: string;
  readonly save: (row: Record<string, string>) => Promise<unknown>;
  /** Offers to leave it, also by Escape. */
  readonly cancel?: () => void;
}

/** Enter saves. A form that inserts is emptied; what the database refuses stays, with what it says. */
export function RowForm({ label, fields, initial = {}, action, save, cancel }: RowFormProps): ReactNode {
  const [error, setError] = useState<string>();
  const [saving, setSaving] = useState(false);

  const submit = async (form: HTMLFormElement) => {
    setSaving(true);
    try {
      await save(Object.fromEntries(new FormData(form)) as Record<string, string>);
      setError(undefined);
      if (!cancel) form.reset();
      form.querySelector<HTMLInputElement>('input[required]')?.focus();
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setSaving(false);
    }
  };

  return (
    <form
      aria-label={label}
      className="row-form"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(event.currentTarget);
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') cancel?.();
      }}
    >
      {fields.map((field, i) => (
        <label key={field.column} className={field.required && !field.later ? 'wide' : ''}>
          <span>{field.label}</span>
          <input
            name={field.column}
            defaultValue={(initial[field.column] as string | null) ?? ''}
            required={field.required === true}
            // biome-ignore lint/a11y/noAutofocus: whoever chose Edit goes on in its first field
            autoFocus={cancel !== undefined && i === 0}
            autoComplete="off"
          />
        </label>
      ))}
      <button type="submit" className="primary" disabled={saving}>
        {action}
      </button>
      {cancel && (
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      )}
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
