import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { ConnectionStore } from '../connections/connection-store.ts';
import type { WebSocketHandler } from './event.ts';

/**
 * A Lambda's handler whose parts are made on the first call and kept while the sandbox lives. Wrong settings
 * refuse everybody with 500; what is wrong with them stands in the log only.
 */
export function deployed(make: (env: NodeJS.ProcessEnv) => WebSocketHandler): WebSocketHandler {
  let made: WebSocketHandler | undefined;
  return async (event) => {
    try {
      made ??= make(process.env);
    } catch (error) {
      logError({ event: 'misconfigured', error: String(error) });
      return { statusCode: 500, body: 'the server is misconfigured; its log says how' };
    }
    return made(event);
  };
}

/** Time-outs are well below API Gateway's 29 s, with room for the SDK's retries. */
export function connectionStore(table: string): ConnectionStore {
  const client = new DynamoDBClient({
    requestHandler: { connectionTimeout: 1000, requestTimeout: 3000, throwOnRequestTimeout: true },
  });
  return new ConnectionStore({ client: DynamoDBDocumentClient.from(client), table });
}

/** One JSON line, as CloudWatch Logs Insights reads it. */
export function logError(line: LogLine): void {
  console.error(JSON.stringify({ level: 'error', ...line }));
}

export function logWarning(line: LogLine): void {
  console.warn(JSON.stringify({ level: 'warn', ...line }));
}

type LogLine = Readonly<Record<string, unknown>>;
