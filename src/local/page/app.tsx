import { type ReactNode, useMemo, useState } from 'react';
import type { TruncatedMessage } from '../../client/connect.ts';
import { RowcastProvider } from '../../react/react.ts';
import { type Config, fetchRow, fetchToken, type Identity } from './api.ts';
import { ConnectAs } from './connect-as.tsx';
import { DirectMessages } from './direct-messages.tsx';
import { Latency } from './latency.tsx';
import { LiveSign } from './live-sign.tsx';
import { LiveTable } from './live-table.tsx';
import { COMPLAINTS, MESSAGES, type Row, tableOf } from './tables.ts';
import { MeteredWebSocket } from './wire.ts';

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
  return (
    <RowcastProvider
      key={JSON.stringify(identity)}
      url={url}
      rooms={identity.rooms}
      fetchRow={fetchLarge}
      WebSocket={MeteredWebSocket}
      maxReconnectDelayMs={MAX_RECONNECT_DELAY_MS}
      refusedDelayMs={REFUSED_DELAY_MS}
      {...(config.auth !== 'none' && {
        getToken: () => (config.auth === 'secret' ? fetchToken(identity) : identity.token || null),
      })}
    >
      <header>
        <h1>Rowcast</h1>
        <LiveSign />
        <ConnectAs auth={config.auth} identity={identity} connect={setIdentity} />
      </header>
      <main>
        <div className="column">
          <LiveTable table={MESSAGES} />
          <DirectMessages identity={identity} />
        </div>
        <div className="column">
          <LiveTable table={COMPLAINTS} />
          <Latency />
        </div>
      </main>
      <footer>
        <p>Insert a row from anywhere, and see it appear above:</p>
        <code>{`psql ${config.databaseUrl} -c "insert into messages (sender, recipient, content) values ('alice', 'bob', 'hello')"`}</code>
      </footer>
    </RowcastProvider>
  );
}

/** A row that was too large for a frame; a message of the application's own has none. */
async function fetchLarge(message: TruncatedMessage<string, unknown>): Promise<Row | null> {
  const about = tableOf(message);
  return about && about.change !== 'DELETE'
    ? fetchRow(about.table, (message.data as Row).id)
    : null;
}

/** With AUTH_MODE=none one is who the query says. */
function urlFor({ auth, websocketUrl }: Config, { userId, roles }: Identity): string {
  if (auth !== 'none') return websocketUrl;
  return `${websocketUrl}?${new URLSearchParams({ userId, ...(roles.length > 0 && { roles: roles.join() }) })}`;
}
