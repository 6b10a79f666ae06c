import type { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import { connectionStore, deployed, logError } from './deployed.ts';
import type { WebSocketHandler } from './event.ts';
import { loadTable } from './settings.ts';

/**
 * `$disconnect`: removes the connection. API Gateway runs it as a best effort (late, twice or
 * never), so a missing item is no error, and ttl and 410 remove what it misses.
 */
export function disconnectHandler(deps: { store: ConnectionStore }): WebSocketHandler {
  return async (event) => {
    const { connectionId } = event.requestContext;
    try {
      await deps.store.remove(connectionId);
      return { statusCode: 200 };
    } catch (error) {
      logError({ event: 'disconnect_failed', connectionId, error: errorText(error) });
      return { statusCode: 500, body: 'the connection could not be removed' };
    }
  };
}

export const handler: WebSocketHandler = deployed((env) =>
  disconnectHandler({ store: connectionStore(loadTable(env)) }),
);
