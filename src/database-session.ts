import { type DatabaseSettings, databaseAccess } from './database.ts';
import { Session } from './listener/session.ts';

/** For the commands: a session of their own, by the settings. @throws what pg throws, and what keeps the password from being had */
export async function openSession(
  settings: DatabaseSettings,
  options: { applicationName: string; queryTimeoutMs: number },
): Promise<Session> {
  const { client: database } = await databaseAccess(settings);
  return Session.open({ database, ...options });
}
