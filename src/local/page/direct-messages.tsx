import { type ReactNode, useState } from 'react';
import type { Message } from '../../client/connect.ts';
import { isTable } from '../../list/live-list.ts';
import { useRowcast } from '../../react/react.ts';
import { type Identity, sendMessage } from './api.ts';
import type { Table } from './tables.ts';
import { TraceButton } from './trace.tsx';

const MAX_SHOWN = 20;
/** Names may hold commas: one ends where the next term begins. */
const BETWEEN_TERMS = /,\s*(?=all\s*(?:,|$)|user:|room:|role:|connection:)/;

/** Messages of the application's own, by `rowcast.send()`: only who is addressed sees them. */
export function DirectMessages({
  identity,
  tables,
}: {
  identity: Identity;
  tables: readonly Table[];
}): ReactNode {
  const [received, setReceived] = useState<readonly Message[]>([]);
  const [error, setError] = useState<string>();
  useRowcast(
    {
      onMessage(message) {
        setReceived((all) => [message, ...all.filter(isOwn)].slice(0, MAX_SHOWN));
      },
    },
    () => null,
  );
  /** A table may become known after its first message. */
  const isOwn = ({ type }: Message) => !tables.some(({ entity }) => isTable(entity, { type }));
  const shown = received.filter(isOwn);

  const send = async (form: FormData) => {
    const field = (name: string) => String(form.get(name) ?? '');
    try {
      await sendMessage({
        type: field('type'),
        audience: field('audience')
          .split(BETWEEN_TERMS)
          .map((term) => term.trim()),
        data: field('data'),
      });
      setError(undefined);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };

  return (
    <section className="panel" aria-labelledby="direct">
      <h2 id="direct">
        Sent to you{' '}
        <span className="count">
          {shown.length === MAX_SHOWN ? `last ${MAX_SHOWN}` : shown.length}
        </span>
      </h2>
      <form
        aria-label="Send a message"
        className="row-form"
        onSubmit={(event) => {
          event.preventDefault();
          void send(new FormData(event.currentTarget));
        }}
      >
        <label>
          <span>Audience</span>
          <input
            name="audience"
            key={identity.userId}
            defaultValue={identity.userId ? `user:${identity.userId}` : 'all'}
            required
            list="terms"
          />
        </label>
        <datalist id="terms">
          {['all', 'user:', 'room:', 'role:'].map((term) => (
            <option key={term} value={term} />
          ))}
        </datalist>
        <label>
          <span>Type</span>
          <input name="type" defaultValue="upload_progress" required />
        </label>
        <label className="wide">
          <span>Data (JSON)</span>
          <input name="data" defaultValue={'{"percent": 80}'} required />
        </label>
        <button type="submit" className="primary">
          Send
        </button>
        {error && (
          <p className="error" role="alert">
            {error}
          </p>
        )}
      </form>
      <ul className="rows">
        {shown.map(({ id, type, data, truncated }) => (
          <li key={id} data-id={id}>
            <div className="row-text">
              <strong>{type}</strong>{' '}
              <code>{truncated ? 'too large to be sent' : JSON.stringify(data)}</code>
            </div>
            <TraceButton eventId={id} of={`message ${id}`} />
          </li>
        ))}
      </ul>
    </section>
  );
}
