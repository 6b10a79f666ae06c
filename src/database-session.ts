import { type DatabaseSettings, databaseAccess } from './database.ts';
import { Session } from './listener/session.ts';

/** For the commands: a session of their own, by the settings. @throws what pg throws, and what keeps the password from being had */
export async function openSession(
  settings: DatabaseSettings,
  options: { applicationName: string; queryTimeoutMs: number },
): Promise<Session> {
  const { client: database } = await databaseAccess(settings);
  try {
    return await Session.open({ database, ...options });
  } catch (error) {
    throw new Error('cannot connect to the database (rowcast doctor says more)', { cause: error });
  }
}
