import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import type { World } from '../world.ts';

/**
 * A session of a role that may connect, and nothing else.
 * @param grants SQL that gives ROLE more
 */
export async function stranger(
  world: World,
  grants = '',
): Promise<{ role: string; client: pg.Client }> {
  const role = `stranger_${randomBytes(4).toString('hex')}`;
  await world.sql(`create role ${role} login password 'p'; ${grants.replaceAll('ROLE', role)}`);
  const url = Object.assign(new URL(world.database.url), { username: role, password: 'p' }).href;
  const client = new pg.Client({ connectionString: url, application_name: 'rowcast lease prod-1' });
  client.on('error', () => undefined);
  await client.connect();
  onTestFinished(async () => {
    await client.end().catch(() => undefined);
    await world.sql(`drop owned by ${role} cascade; drop role ${role}`);
  });
  return { role, client };
}
