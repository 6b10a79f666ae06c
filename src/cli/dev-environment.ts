import type { DevFolder } from './dev-folder.ts';

/**
 * The settings of the system that `rowcast dev` runs in a folder, so that the other commands find it without being told.
 * @returns null where none runs. @throws as `DevFolder.urls`
 */
export async function devEnvironment(folder: DevFolder): Promise<DevEnvironment | null> {
  const urls = await folder.urls();
  if (!urls) return null;
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

export interface DevEnvironment {
  readonly websocketUrl: string;
  readonly env: Readonly<Record<string, string>>;
}
