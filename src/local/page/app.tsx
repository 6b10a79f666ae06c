import { type ReactNode, useMemo, useState } from 'react';
import { RowcastProvider } from '../../react/react.ts';
import { type Config, fetchToken, type Identity } from './api.ts';
import { ConnectAs } from './connect-as.tsx';
import { Connected } from './connected.tsx';
import { DirectMessages } from './direct-messages.tsx';
import { Frames } from './frames.tsx';
import { Latency } from './latency.tsx';
import { LiveSign } from './live-sign.tsx';
import { PsqlLine } from './psql-line.tsx';
import { Rooms } from './rooms.tsx';
import { TablePanel } from './table-panel.tsx';
import { Traces } from './trace.tsx';
import { useTables } from './use-tables.ts';
import { HeardWebSocket } from './wire.ts';

/** As little as a person who has just cut the connection wants to wait. */
const MAX_RECONNECT_DELAY_MS = 2000;
const REFUSED_DELAY_MS = 3000;

export function App({ config }: { config: Config }): ReactNode {
  const [identity, setIdentity] = useState<Identity>({
    userId: config.auth === 'jwks' ? '' : 'alice',
    rooms: [],
    roles: [],
    token: '',
  });
  const url = useMemo(() => urlFor(config, identity), [config, identity]);
  const setRooms = (rooms: readonly string[]) => setIdentity((before) => ({ ...before, rooms }));
  const { rooms: _, ...person } = identity;
  return (
    <RowcastProvider
      key={JSON.stringify(person)}
      url={url}
      rooms={identity.rooms}
      WebSocket={HeardWebSocket}
      maxReconnectDelayMs={MAX_RECONNECT_DELAY_MS}
      refusedDelayMs={REFUSED_DELAY_MS}
      {...(config.auth !== 'none' && {
        getToken: () => (config.auth === 'secret' ? fetchToken(identity) : identity.token || null),
      })}
    >
      <Traces>
        <header>
          <h1>Rowcast</h1>
          <LiveSign />
          <ConnectAs auth={config.auth} identity={identity} connect={setIdentity} />
        </header>
        <section className="panel first" aria-label="Try it">
          <PsqlLine databaseUrl={config.databaseUrl} />
          <Latency />
        </section>
        <Panels identity={identity} setRooms={setRooms} />
      </Traces>
    </RowcastProvider>
  );
}

/** Tables on one side, what goes over the wire on the other. */
function Panels({
  identity,
  setRooms,
}: {
  identity: Identity;
  setRooms: (rooms: readonly string[]) => void;
}): ReactNode {
  const { tables, error } = useTables();
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const toggle = (name: string) =>
    setHidden((before) => {
      const after = new Set(before);
      if (!after.delete(name)) after.add(name);
      return after;
    });
  return (
    <main>
      <div className="column">
        {error && (
          <p className="error" role="alert">
            {error}
          </p>
        )}
        <nav aria-label="Watched tables">
          {tables.map(({ name }) => (
            <button
              key={name}
              type="button"
              aria-pressed={!hidden.has(name)}
              onClick={() => toggle(name)}
            >
              {name}
            </button>
          ))}
          <code className="hint">select rowcast.watch('a_table')</code>
        </nav>
        {tables
          .filter(({ name }) => !hidden.has(name))
          .map((table) => (
            <TablePanel key={JSON.stringify(table)} table={table} />
          ))}
      </div>
      <div className="column">
        <Frames />
        <Rooms rooms={identity.rooms} change={setRooms} />
        <Connected />
        <DirectMessages identity={identity} tables={tables} />
      </div>
    </main>
  );
}

/** With AUTH_MODE=none one is who the query says. */
function urlFor({ auth, websocketUrl }: Config, { userId, roles }: Identity): string {
  if (auth !== 'none') return websocketUrl;
  return `${websocketUrl}?${new URLSearchParams({ userId, ...(roles.length > 0 && { roles: roles.join() }) })}`;
}
