import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import type { ChaosClient } from './client.ts';
import { ROOM_BY_TABLE } from './memberships.ts';

/**
 * Waits until each client and the database know who is in which room, once all are connected and
 * nobody changes rooms.
 * @returns what is still wrong at the deadline, by performance.now()
 */
export async function untilInformed(
  databaseUrl: string,
  clients: readonly ChaosClient[],
  deadline: number,
): Promise<string[]> {
  const admin = new pg.Client(databaseUrl);
  await admin.connect();
  let wrong = await misinformed(admin, clients);
  while (wrong.length > 0 && performance.now() < deadline) {
    await setTimeout(200);
    wrong = await misinformed(admin, clients);
  }
  await admin.end();
  return wrong;
}

async function misinformed(admin: pg.Client, clients: readonly ChaosClient[]): Promise<string[]> {
  const members = await textsOf(admin, 'select user_id from chaos_member');
  const roomsOf = ({ name, rooms }: ChaosClient) =>
    members.includes(name) ? [...rooms, ROOM_BY_TABLE] : rooms;
  const truth = new Set(
    clients.flatMap((each) => roomsOf(each).map((room) => `${room} ${each.name}`)),
  );
  const wrong = clients.flatMap((client) =>
    roomsOf(client)
      .filter((room) => {
        const there = [...truth].filter((line) => line.startsWith(`${room} `));
        const told = client.present(room).map((name) => `${room} ${name}`);
        return there.sort().join() !== told.sort().join();
      })
      .map((room) => `${client.name} of ${room}`),
  );
  const known = await textsOf(admin, `select room || ' ' || user_id from rowcast.presence`);
  if ([...truth].sort().join() !== known.sort().join()) wrong.push('the database');
  return wrong;
}

async function textsOf(admin: pg.Client, query: string): Promise<string[]> {
  const { rows } = await admin.query<string[]>({ text: query, rowMode: 'array' });
  return rows.map(([text]) => String(text));
}
