import { type ReactNode, useEffect, useState } from 'react';

const SAID_MS = 2000;

export function PsqlLine({ databaseUrl }: { databaseUrl: string }): ReactNode {
  const line = `psql ${databaseUrl} -c "insert into messages (sender, recipient, content) values ('alice', 'bob', 'hello')"`;
  const [said, setSaid] = useState('');
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(''), SAID_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    navigator.clipboard.writeText(line).then(
      () => setSaid('Copied'),
      () => setSaid('Select it'),
    );
  return (
    <div className="psql">
      <code>{line}</code>
      <button type="button" className="primary" onClick={() => void copy()}>
        {said || 'Copy'}
      </button>
    </div>
  );
}
