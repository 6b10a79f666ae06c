import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The settings of the system that `rowcast dev` runs in this folder, so that the other commands find it without being told.
 * @param dir as `rowcast dev --dir`
 * @returns null where none runs
 */
export async function devEnvironment(dir: string): Promise<DevEnvironment | null> {
  const text = await readFile(join(dir, 'dev.json'), 'utf8').catch(() => null);
  if (text === null) return null;
  const urls = parsed(text);
  const { LOCAL_ENVIRONMENT } = await import('../local/dynamodb.ts');
  return {
    websocketUrl: urls.websocketUrl,
    env: {
      ...LOCAL_ENVIRONMENT,
      DATABASE_URL: urls.databaseUrl,
      WEBSOCKET_ENDPOINT: urls.managementUrl,
      AWS_ENDPOINT_URL_DYNAMODB: urls.dynamodbEndpoint,
      ROWCAST_INSPECT_PORT: new URL(urls.inspectUrl).port,
    },
  };
}

const URLS = ['databaseUrl', 'websocketUrl', 'managementUrl', 'dynamodbEndpoint', 'inspectUrl'] as const;

/** @throws when the file is of another version, or none of ours */
function parsed(text: string): Record<(typeof URLS)[number], string> {
  try {
    const urls = JSON.parse(text) as ReturnType<typeof parsed>;
    for (const name of URLS) new URL(urls[name]);
    return urls;
  } catch {
    throw new Error('dev.json is not that of this version: start rowcast dev again, or set DATABASE_URL');
  }
}

export interface DevEnvironment {
  readonly websocketUrl: string;
  readonly env: Readonly<Record<string, string>>;
}
