import { type ReactNode, useEffect, useState } from 'react';
import type { Connection } from '../../connections/connection.ts';

/** Who is connected, as the connections table has it: told by the server after each change. */
export function Connected(): ReactNode {
  const [connections, setConnections] = useState<readonly Connection[]>([]);
  useEffect(() => {
    const source = new EventSource('/api/connections');
    source.onmessage = ({ data }: MessageEvent<string>) =>
      setConnections(JSON.parse(data) as Connection[]);
    return () => source.close();
  }, []);
  return (
    <section className="panel" aria-labelledby="connected">
      <h2 id="connected">
        Connected <span className="count">{connections.length}</span>
      </h2>
      <ul className="rows">
        {[...connections]
          .sort((one, other) => other.connectedAt - one.connectedAt)
          .map(({ connectionId, userId, rooms = [], roles = [], connectedAt }) => (
            <li key={connectionId}>
              <div className="row-text">
                <strong>{userId}</strong>
                <dl className="cells">
                  <Cell name="rooms" value={rooms.join(', ')} />
                  <Cell name="roles" value={roles.join(', ')} />
                  <Cell name="since" value={new Date(connectedAt).toLocaleTimeString()} />
                  <Cell name="connection" value={connectionId} />
                </dl>
              </div>
            </li>
          ))}
      </ul>
    </section>
  );
}

function Cell({ name, value }: { name: string; value: string }): ReactNode {
  return (
    value && (
      <div>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    )
  );
}
