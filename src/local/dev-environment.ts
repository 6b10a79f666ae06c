import type { DevFolder } from './dev-folder.ts';

/** The SDK signs requests with these, and nobody checks them. */
export const LOCAL_CREDENTIALS = { accessKeyId: 'local', secretAccessKey: 'local' };
export const LOCAL_REGION = 'us-east-1';

/** The same for a process of its own. */
export const LOCAL_ENVIRONMENT = {
  AWS_REGION: LOCAL_REGION,
  AWS_ACCESS_KEY_ID: LOCAL_CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: LOCAL_CREDENTIALS.secretAccessKey,
  AWS_SESSION_TOKEN: '',
};

/**
 * The settings of the system that `rowcast dev` runs in a folder, so that the other commands find
 * it without being told.
 * @returns null where none runs. @throws as `DevFolder.urls`
 */
export async function devEnvironment(folder: DevFolder): Promise<DevEnvironment | null> {
  const urls = await folder.urls();
  if (!urls) return null;
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

export interface DevEnvironment {
  readonly websocketUrl: string;
  readonly env: Readonly<Record<string, string>>;
}
