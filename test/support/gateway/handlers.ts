import { afterAll } from 'vitest';
import { Authenticator } from '../../../src/lambdas/authenticate.ts';
import { connectHandler } from '../../../src/lambdas/connect.ts';
import type { WebSocketEvent, WebSocketHandler } from '../../../src/lambdas/event.ts';
import { loadConnectSettings } from '../../../src/lambdas/settings.ts';
import { startTable, type TestTable } from '../dynamodb/dynamodb.ts';

/** `$connect` as API Gateway calls it, on a table of the test file's own. */
export async function startConnect(): Promise<ConnectUnderTest> {
  const table = await startTable();
  afterAll(() => table.stop());
  let count = 0;
  return {
    table,
    handler(env) {
      const { auth, table: _, ...limits } = loadConnectSettings(env);
      return connectHandler({
        authenticator: new Authenticator(auth),
        store: table.store,
        ...limits,
      });
    },
    event: (query = {}, headers = {}) => ({
      requestContext: { connectionId: `c${count++}=`, connectedAt: Date.now() },
      headers,
      queryStringParameters: query,
    }),
    stored: async ({ requestContext }) =>
      (await table.items()).find(
        ({ connectionId }) => connectionId === requestContext.connectionId,
      ),
  };
}

interface ConnectUnderTest {
  readonly table: TestTable;
  /** @param env the Lambda's settings */
  handler(env: Record<string, string>): WebSocketHandler;
  /** The event of a connection of its own. */
  event(
    query?: Record<string, string> | null,
    headers?: Record<string, string> | null,
  ): WebSocketEvent;
  /** The item of the connection that an event is about. */
  stored(event: WebSocketEvent): Promise<Record<string, unknown> | undefined>;
}
