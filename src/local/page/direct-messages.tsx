import { type ReactNode, useState } from 'react';
import type { Message } from '../../client/connect.ts';
import { useRowcast } from '../../client/react.ts';
import { type Identity, sendMessage } from './api.ts';
import { COMPLAINTS, MESSAGES, type Messages } from './tables.ts';

const MAX_SHOWN = 20;
const OF_TABLES = new RegExp(`_(${MESSAGES.entity}|${COMPLAINTS.entity})$`);

/** Messages of the application's own, by `rowcast.send()`: only who is addressed sees them. */
export function DirectMessages({ identity }: { identity: Identity }): ReactNode {
  const [received, setReceived] = useState<readonly Message<Messages>[]>([]);
  const [error, setError] = useState<string>();
  useRowcast<Messages>({
    onMessage(message) {
      if (!OF_TABLES.test(message.type)) setReceived((all) => [message, ...all].slice(0, MAX_SHOWN));
    },
  });

  const send = async (form: FormData) => {
    const field = (name: string) => String(form.get(name) ?? '');
    try {
      await sendMessage({ type: field('type'), audience: field('audience').split(/[\s,]+/), data: field('data') });
      setError(undefined);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };

  return (
    <section className="panel" aria-labelledby="direct">
      <h2 id="direct">
        Sent to you <span className="count">{received.length}</span>
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
          <input name="audience" key={identity.userId} defaultValue={`user:${identity.userId}`} required list="terms" />
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
        {received.map(({ id, type, data }) => (
          <li key={id} data-id={id}>
            <div className="row-text">
              <strong>{type}</strong> <code>{JSON.stringify(data)}</code>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
