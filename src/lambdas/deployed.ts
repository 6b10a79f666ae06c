import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { ConnectionStore } from '../connections/connection-store.ts';
import { errorText } from '../error-text.ts';
import type { WebSocketHandler } from './event.ts';

/**
 * A Lambda's handler whose parts are made on the first call and kept while the sandbox lives. Wrong
 * settings refuse everybody with 500; what is wrong with them stands in the log only.
 */
export function deployed(
  make: (env: NodeJS.ProcessEnv) => WebSocketHandler | Promise<WebSocketHandler>,
): WebSocketHandler {
  let made: WebSocketHandler | undefined;
  return async (event) => {
    try {
      made ??= await make(process.env);
    } catch (error) {
      logError({ event: 'misconfigured', error: errorText(error) });
      return { statusCode: 500, body: 'the server is misconfigured; its log says how' };
    }
    return made(event);
  };
}

/**
 * The environment, with the secret that JWT_SECRET_ARN names in place of the ARN.
 * @throws where it cannot be read
 */
export async function withJwtSecret(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const { JWT_SECRET_ARN: arn, ...others } = env;
  if (!arn) return env;
  const { GetSecretValueCommand, SecretsManagerClient } = await import(
    '@aws-sdk/client-secrets-manager'
  );
  const client = new SecretsManagerClient({ requestHandler: TIMEOUTS });
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: arn }));
    return { ...others, JWT_SECRET: SecretString };
  } catch (error) {
    throw new Error('the secret that JWT_SECRET_ARN names cannot be read', { cause: error });
  }
}

const TIMEOUTS = { connectionTimeout: 1000, requestTimeout: 3000, throwOnRequestTimeout: true };

/** Time-outs are well below API Gateway's 29 s, with room for the SDK's retries. */
export function connectionStore(table: string): ConnectionStore {
  const client = new DynamoDBClient({ requestHandler: TIMEOUTS });
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
